"""Makes text from files, certificates and the network safe for a terminal."""

from __future__ import annotations

import re
import unicodedata

_MARK = "..."
# Whether the terminal shows only ASCII: a property of the process, like its locale.
_ascii_only = False
_NUMBER = re.compile(r"(\d{1,18})")


def escape_non_ascii() -> None:
    r"""From now on escape non-ASCII characters as ``\xe4``: the terminal cannot show them."""
    global _ascii_only  # noqa: PLW0603
    _ascii_only = True


def natural(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key for natural order: ``key-2`` before ``key-10``, ignoring case."""
    parts = (part for part in _NUMBER.split(text.casefold()) if part)
    numbers_first = [(0, int(one), "") if one.isdecimal() else (1, 0, one) for one in parts]
    return numbers_first, text


def printable(text: str, limit: int = 200) -> str:
    r"""``text`` on one line, with everything that controls a terminal escaped, as in ``\x1b``.

    Markup such as ``[bold]`` is unchanged: the code that renders it must switch markup off.

    Args:
        text: text from an untrusted source.
        limit: the most characters to use; ``...`` marks that there were more.
    """
    if len(text) <= limit and text.isprintable() and (text.isascii() or not _ascii_only):
        return text
    shown = "".join(_escaped(character) for character in text[:limit])
    return shown + _MARK if len(text) > limit else shown


def harmless(text: str, limit: int = 100_000) -> str:
    """``text`` of several lines, each made ``printable``; for text that is shown unchanged.

    Tabs are kept: scripts that we print contain them, and they are harmless on a terminal.

    Args:
        limit: the most characters to use.
    """
    cut = text[:limit]
    lines = (
        "\t".join(printable(part, limit) for part in line.split("\t")) for line in cut.split("\n")
    )
    return "\n".join(lines) + (_MARK if len(text) > limit else "")


def _escaped(character: str) -> str:
    # Not printable for Python: control and format characters (bidi marks, zero-width ones), lone
    # surrogates, private and unassigned characters, and every separator but the space.
    if character.isprintable() and (character.isascii() or not _ascii_only):
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # PEP 383: a byte that was not UTF-8
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def cells(text: str) -> int:
    """How many terminal columns ``text`` takes; it must be printable."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def short(text: str, width: int) -> str:
    """``text`` cut to ``width`` columns, printable, with ``...`` if something was cut.

    ``...`` rather than an ellipsis character: a serial line shows only ASCII.
    """
    text = printable(text, limit=max(width * 4, 200))
    if cells(text) <= width:
        return text
    mark = _MARK if width > len(_MARK) else ""
    room = width - len(mark)
    taken = []
    for character in text:
        room -= _width(character)
        if room < 0:
            break
        taken.append(character)
    return "".join(taken) + mark


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def seconds_words(seconds: float) -> str:
    """A duration, short: ``45 s``, ``17 min``, ``2 h``, ``2.5 h``, ``24 h``, ``5 d``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            number = seconds / size
            return f"{number:.0f} {unit}" if number >= 10 else f"{round(number, 1):g} {unit}"
    return f"{seconds:.0f} s"
