"""The size of the terminal: from the kernel or, if it does not know, from the terminal itself.

A serial port does not know how large the terminal at its other end is and reports 0x0. The terminal
can be asked: the cursor is sent far beyond the corner, stops in the corner and reports its
position. Nothing here waits; ``driver.py`` sends `PROBE` and receives the answer.
"""

from __future__ import annotations

import fcntl
import re
import struct
import termios
from typing import NamedTuple

from tpmconsole.system.terminal import USUAL

# Save the cursor, go far right and down, report the position (CPR, ECMA-48 8.3.14), restore.
PROBE = "\x1b7\x1b[999;999H\x1b[6n\x1b8"

PROBE_SECONDS = 0.5
"""How long the first frame waits for the answer."""

_REPLY = re.compile(r"\x1b\[(\d{1,3});(\d{1,3})R")
_IN_BAND = re.compile(r"\x1b\[48;(\d{1,4})[\d:]*;(\d{1,4})[\d:;]*t")
_LEAST_ROWS, _LEAST_COLUMNS = 5, 20
_MOST_ROWS, _MOST_COLUMNS = 500, 998


class LineSize(NamedTuple):
    """Columns and rows of a terminal, in cells."""

    columns: int
    rows: int


FALLBACK = LineSize(*USUAL)
"""The size to assume if the terminal does not answer."""


def read_size(descriptor: int) -> LineSize | None:
    """The size according to the kernel; None if it is unknown (0x0) or this is not a terminal."""
    try:
        answer = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return None
    rows, columns, _, _ = struct.unpack("HHHH", answer)
    return LineSize(columns, rows) if rows and columns else None


def store_size(descriptor: int, size: LineSize) -> None:
    """Store the size in the kernel, so that programs started later know it, too.

    A change raises SIGWINCH. A line that cannot store a size is left unchanged.
    """
    try:
        fcntl.ioctl(
            descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0)
        )
    except OSError:
        return


def parse_reply(sequence: str) -> LineSize | None:
    """The size in an answer to `PROBE`; None if it is another sequence or not plausible.

    Shift+F3 looks like the answer "1;2", so tiny sizes are not accepted.
    """
    return _believable(_REPLY.fullmatch(sequence))


def parse_in_band(sequence: str) -> LineSize | None:
    """The size in a report of in-band resize (mode 2048), which terminals send on every change."""
    return _believable(_IN_BAND.fullmatch(sequence))


def _believable(match: re.Match[str] | None) -> LineSize | None:
    if match is None:
        return None
    rows, columns = int(match[1]), int(match[2])
    if _LEAST_ROWS <= rows <= _MOST_ROWS and _LEAST_COLUMNS <= columns <= _MOST_COLUMNS:
        return LineSize(columns, rows)
    return None
