"""The manual's text, cut into sections and lines, so that a screen can show it page by page.

Its Markdown is in ``share/manual/``; the manual pages are made from the same files. ``read_manual``
reads a disk: call it from a thread.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple

from tpmconsole.errors import ConsoleError

TEXTS = ("console", "commands", "keys", "settings", "formats")
# Longer lines are hard to read, however wide the screen is.
WIDTH = 76
_INDENT = 4
_NUMBERED = re.compile(r"(\d+\. )")


class Section(NamedTuple):
    """A section of the manual.

    Attributes:
        page: the manual page that it is from, such as ``tpmconsole(1)``.
        title: its heading.
        lines: its text, at most ``WIDTH`` wide.
    """

    page: str
    title: str
    lines: tuple[str, ...]


class Hit(NamedTuple):
    """A search result: the section's index, the line in it, and the text of that line."""

    section: int
    line: int
    text: str


def read_manual() -> tuple[Section, ...]:
    """Every section, in the order of the manual.

    Raises:
        ConsoleError: it cannot be read.
    """
    folder = files("tpmconsole") / "share" / "manual"
    try:
        texts = [(folder / f"{name}.md").read_text(encoding="utf-8") for name in TEXTS]
    except OSError as error:
        raise ConsoleError(
            "Manual not read", f"{error.filename}: {error.strerror}", "install tpmconsole again"
        ) from error
    return tuple(section for text in texts for section in _sections(text))


def search(sections: Sequence[Section], words: str) -> list[Hit]:
    """Find the sections that contain all words, titles first; at most one hit a section."""
    wanted = words.lower().split()
    in_titles, in_texts = [], []
    for index, section in enumerate(sections):
        if all(word in section.title.lower() for word in wanted):
            in_titles.append(Hit(index, 0, section.page))
            continue
        text = "\n".join((section.title, *section.lines)).lower()
        if all(word in text for word in wanted):
            in_texts.append(_best_line(index, section, wanted))
    return in_titles + in_texts


def _best_line(index: int, section: Section, wanted: Sequence[str]) -> Hit:
    """The first line with the most of the wanted words."""
    counts = [sum(word in line.lower() for word in wanted) for line in section.lines]
    line = counts.index(max(counts))
    return Hit(index, line, section.lines[line].strip())


def _sections(text: str) -> Iterator[Section]:
    head, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    page = head.partition("\n")[0].removeprefix("# ")
    for part in parts:
        title, _, body = part.partition("\n")
        yield Section(page, title.replace("`", ""), tuple(_lines(body)))


def _lines(body: str) -> Iterator[str]:
    lines: list[str] = []
    for number, piece in enumerate(re.split(r"^```\n", body, flags=re.MULTILINE)):
        if number % 2:  # between two fences
            lines += [part for line in piece.splitlines() for part in _folded(line)] + [""]
        else:
            for block in re.split(r"\n{2,}", piece.replace("`", "").strip("\n")):
                lines += [*_block(block.splitlines()), ""] if block else []
    while lines and not lines[-1]:
        lines.pop()
    yield from lines


def _block(block: Sequence[str]) -> Iterator[str]:
    """A paragraph, a numbered list, or terms with their meaning."""
    if len(block) > 1 and block[1].startswith(": "):
        yield from textwrap.wrap(block[0], WIDTH)
        meaning = " ".join(line.removeprefix(": ") for line in block[1:])
        yield from _wrapped(meaning, " " * _INDENT, " " * _INDENT)
    elif _NUMBERED.match(block[0]):
        for item in re.split(r"\n(?=\d+\. )", "\n".join(block)):
            number = _NUMBERED.match(item)
            yield from _wrapped(item, "", " " * len(number[1] if number else ""))
    else:
        yield from _wrapped(" ".join(block), "", "")


def _folded(line: str) -> list[str]:
    """A line of code, split into several if it is too wide."""
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    return _wrapped(line, indent, indent + " " * _INDENT)


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    joined = " ".join(text.split())
    return textwrap.wrap(
        joined,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
    )
