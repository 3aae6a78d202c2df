"""Rows of styled text. Colour only repeats what a word or a mark already says."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content

LABEL_WIDTH = 12
STATE_WIDTH = 10
INDENT = 1 + LABEL_WIDTH + STATE_WIDTH + 1

# State words by how good they are; everything else is plain.
GOOD = frozenset({"PASSED", "OPEN", "READY", "RUNNING", "OK", "DONE", "YES"})
WARN = frozenset({"NOT RUN", "SIMULATED", "EXPIRES", "WARN", "STARTING", "NEXT", "SKIPPED", "NONE"})
BAD = frozenset({"FAILED", "LOCKED", "EXPIRED", "FAIL", "NO", "FULL", "NO TPM", "ERROR"})


@dataclass(frozen=True, slots=True)
class Fact:
    """A row with a label, a state word in a fixed column, and the details."""

    label: str = ""
    state: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of the rows below it, after an empty line."""

    text: str


def state_style(word: str) -> str:
    """The style of a state word."""
    if word in GOOD:
        return "$success"
    if word in WARN:
        return "$warning"
    if word in BAD:
        return "bold $error"
    return ""


def lay_out(items: Iterable[Fact | Heading], width: int) -> Content:
    """The rows, each detail wrapped below itself to the width in cells. No markup is read."""
    lines: list[Content] = []
    for item in items:
        if isinstance(item, Heading):
            lines += [Content("")] if lines else []
            lines.append(Content.styled(f" {item.text}", "bold"))
        else:
            lines += _fact_lines(item, max(20, width - INDENT))
    return Content("\n").join(lines)


def _fact_lines(fact: Fact, room: int) -> Sequence[Content]:
    first, *more = textwrap.wrap(fact.text, room, break_on_hyphens=False) or [""]
    label = fact.label[:LABEL_WIDTH].ljust(LABEL_WIDTH)
    return [
        Content.assemble(
            (f" {label}", "$accent"),
            (fact.state.ljust(STATE_WIDTH), state_style(fact.state)),
            f" {first}",
        ),
        *(Content(" " * INDENT + line) for line in more),
    ]
