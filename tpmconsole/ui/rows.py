"""Rows of styled text. Colour only repeats what a word or a mark already shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content

from tpmconsole.text import harmless, printable, short

LABEL_WIDTH = 12
LONGEST_LABEL = 28
STATE_WIDTH = 11
LONGEST_TEXT = 4000
_DIGEST_DIGITS = 64
_DIGEST = re.compile(rf"\b[0-9a-f]{{{_DIGEST_DIGITS}}}\b")
_EIGHT = re.compile(".{8}")

# State words by how good they are; everything else is plain.
GOOD = frozenset(
    {
        *("PASSED", "OPEN", "READY", "RUNNING", "OK", "DONE", "YES"),
        *("INSIDE", "REFUSED", "NO COPY"),  # the tour's
    }
)
WARN = frozenset(
    {
        *("NOT RUN", "NOT TOLD", "UNKNOWN", "OFF", "SIMULATED", "EXPIRES", "CRL ENDS", "WARN"),
        *("STARTING", "NO TRUST"),
        *("WAITING", "NEXT", "SKIPPED", "NONE"),
        *("PASSWORD", "LAST TRY", "POLICY"),  # a key's
    }
)
BAD = frozenset(
    {
        *("FAILED", "LOCKED", "EXPIRED", "FAIL", "NO", "FULL", "NO TPM", "NO CLOCK", "ERROR"),
        *("CRL ENDED",),
        *("NOT HERE", "NO PARENT", "WRONG", "NO ALG", "NO ROOM"),  # a key's
        *("STOLEN", "FOUND", "WORKS"),  # the tour's
    }
)


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


def same(content: Content, other: object) -> bool:
    """Whether text and styles are equal; ``==`` compares the text only."""
    return isinstance(other, Content) and content.is_same(other)


def lay_out(items: Iterable[Fact | Heading], width: int, state_width: int = STATE_WIDTH) -> Content:
    """Render the rows, each detail wrapped below itself to the width in cells; ignores markup.

    Args:
        state_width: the width of the column of state words; 0 if no row has one.
    """
    rows = list(items)
    labels = max((len(row.label) for row in rows if isinstance(row, Fact)), default=0)
    label_width = min(max(LABEL_WIDTH, labels + 1), LONGEST_LABEL)
    lines: list[Content] = []
    for row in rows:
        if isinstance(row, Heading):
            lines += [Content("")] if lines else []
            lines.append(Content.styled(f" {printable(row.text)}", "bold"))
        else:
            lines += _fact_lines(row, label_width, width, state_width)
    return Content("\n").join(lines)


def _fact_lines(fact: Fact, label_width: int, width: int, state_width: int) -> Sequence[Content]:
    indent = 1 + label_width + state_width
    # Line breaks become spaces; other control characters are made visible.
    text = harmless(fact.text, LONGEST_TEXT)
    text = text.replace("\n", " ").replace("\t", " ")
    if width - indent < _DIGEST_DIGITS:  # otherwise it would be broken anywhere
        text = _DIGEST.sub(lambda found: " ".join(_EIGHT.findall(found[0])), text)
    first, *more = Content(text).wrap(max(20, width - indent))
    return [
        Content.assemble(
            (f" {short(fact.label, label_width - 1):<{label_width}}", "$accent"),
            (f"{fact.state:<{state_width}}", state_style(fact.state)),
            first,
        ),
        *(Content(" " * indent + line.plain) for line in more),
    ]
