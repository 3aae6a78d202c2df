"""From the manual's little Markdown to man(7).

It knows headings (``##``), paragraphs, fenced code, numbered items, and definitions: a line with
terms in backticks, and below it a line that begins with ``: ``.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"`([^`]+)`")
_PAGE = re.compile(r"\b([a-z][\w.-]+)\((\d)\)")
_NUMBERED = re.compile(r"(\d+)\. ")


def head(page: str, section: int, source: str, manual: str) -> str:
    """The first line of a page."""
    return f'.TH {page.upper()} "{section}" "" "{source}" "{manual}"\n'


def sections(markdown: str) -> str:
    """A text as sections of a page."""
    code = False
    out: list[str] = []
    block: list[str] = []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("```"):
            out += [".EE"] if code else [".PP", ".EX"]
            code = not code
        elif code:
            out.append(_quoted(line))
        elif line.strip():
            block.append(line)
        elif block:
            out += _block(block)
            block = []
    return "\n".join(out) + "\n"


def _block(lines: list[str]) -> list[str]:
    first = lines[0]
    if first.startswith("## "):
        return [f".SH {_quoted(first[3:].replace('`', '')).upper()}"]
    if len(lines) > 1 and lines[1].startswith(": "):
        return [".TP", _inline(first), _inline(" ".join(line.strip(": ") for line in lines[1:]))]
    if _NUMBERED.match(first):
        return _items(lines)
    return [".PP", _inline(" ".join(lines))]


def _items(lines: list[str]) -> list[str]:
    out: list[str] = []
    for line in lines:
        number = _NUMBERED.match(line)
        if number:
            out += [f".IP {number[1]}. 4", _inline(line[number.end() :])]
        else:
            out.append(_inline(line.strip()))
    return out


def _inline(text: str) -> str:
    """Code in bold, and names of other pages as man(7) writes them."""
    text = _CODE.sub(r"\\fB\1\\fR", text.replace("\\", r"\e"))
    return _dashes(_PAGE.sub(r"\\fB\1\\fR(\2)", text))


def _quoted(text: str) -> str:
    return _dashes(text.replace("\\", r"\e"))


def _dashes(text: str) -> str:
    """A hyphen that is copied as one, and no line that man(7) takes for a request."""
    return re.sub(r"^([.'])", r"\\&\1", text.replace("-", r"\-"))
