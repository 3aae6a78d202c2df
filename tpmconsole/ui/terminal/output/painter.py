"""Read Textual's output into a grid.

Textual (8.2.8, ``_compositor.py`` and ``strip.py``) writes runs of text wrapped in SGR codes and
positions them with CUP. Only these are interpreted. Everything else is left out, so an escape code
inside a certificate's subject never reaches the terminal.
"""

from __future__ import annotations

import re

from rich.cells import split_graphemes

from tpmconsole.ui.terminal.output.grid import Grid, to_ascii
from tpmconsole.ui.terminal.output.style import ALL_FLAGS, PLAIN, Look, apply_sgr

# Zero-width characters, which at most reorder the text around them: not sent to a terminal.
_INVISIBLE = "\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
_CONTROL = r"\x00-\x1f\x7f-\x9f" + _INVISIBLE
_TOKEN = re.compile(
    rf"([^{_CONTROL}]+)"  # 1: text
    r"|\x1b\[([0-9;:]{0,64})([@-~])"  # 2, 3: parameters and final byte of a control sequence
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # private sequences: modes are the driver's own business
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # strings: titles, links, pointer shapes
    rf"|([{_CONTROL}])"  # 4: a control character
)

# Sent only if they are written alone: inside a frame they would come from the text shown in it.
_BELL = "\x07"
_CLIPBOARD = re.compile(r"\x1b\]52;[a-z]*;[A-Za-z0-9+/=]*(?:\x07|\x1b\\)")


def is_direct(data: str) -> bool:
    """Whether a write is a bell or a copy to the clipboard (OSC 52), which are sent unchanged."""
    return data == _BELL or _CLIPBOARD.fullmatch(data) is not None


class Painter:
    """Paints what Textual writes into a grid.

    Args:
        grid: the grid to paint into.
        ascii_only: replace what is not ASCII.
        flags: the attributes to keep (`tpmconsole.ui.terminal.output.style`).

    Attributes:
        x: the cursor's column; may be outside the grid.
        y: the cursor's row.
    """

    def __init__(self, grid: Grid, *, ascii_only: bool = False, flags: int = ALL_FLAGS) -> None:
        self.grid = grid
        self.x = 0
        self.y = 0
        self._look: Look = PLAIN
        self._ascii_only = ascii_only
        self._flags = flags

    def feed(self, data: str) -> None:
        """Paint one write from Textual; a sequence is never split between two writes."""
        for token in _TOKEN.finditer(data):
            kind = token.lastindex
            if kind == 1:
                if self._ascii_only and not token[1].isascii():
                    self._put_ascii(token[1])
                else:
                    self.x = self.grid.put(self.x, self.y, token[1], self._look)
            elif kind == 3:
                if token[3] == "m":
                    self._look = apply_sgr(self._look, token[2], self._flags)
                elif token[3] == "H":
                    self._move_to(token[2])
            elif kind == 4:
                self._control_character(token[4])

    def _put_ascii(self, text: str) -> None:
        """Put text as ASCII; a ? for a missing character is reversed, unlike a real one."""
        marked = apply_sgr(self._look, "7", self._flags)
        for start, end, _ in split_graphemes(text)[0]:
            piece = text[start:end]
            shown = to_ascii(piece)
            unknown = not piece.isascii() and shown.startswith("?")
            look = marked if unknown else self._look
            self.x = self.grid.put(self.x, self.y, shown, look)

    def _control_character(self, character: str) -> None:
        if character == "\n":
            self.x, self.y = 0, self.y + 1
        elif character == "\r":
            self.x = 0
        elif character == "\t":
            self.x = self.grid.put(self.x, self.y, " ", self._look)

    def _move_to(self, parameters: str) -> None:
        row, _, column = parameters.partition(";")
        self.x, self.y = _count(column) - 1, _count(row) - 1


def _count(parameter: str) -> int:
    """Parse a numeric parameter: missing and 0 count as 1."""
    return max(1, int(parameter)) if parameter.isdecimal() else 1
