"""Encode a row of the screen as bytes: cursor moves, looks, characters, erasing.

It uses only what a VT220 knows: CUP, CUU, CUD, CUF, CUB, EL, ECH, CR, LF, BS and SGR. It does not
use REP, HPA, VPA (not VT220) or tabs (the tab stops may have been moved). LF only follows CR, so a
terminal program that adds one to the other does no harm. Spaces are erased only if they have the
default background, because only some terminals erase with a colour.
"""

from __future__ import annotations

from bisect import bisect_left

from tpmconsole.ui.terminal.output.grid import NARROW, Grid
from tpmconsole.ui.terminal.output.style import PLAIN, Look, blank_of, sgr_between

_NOWHERE = -1
# To erase spaces in the middle of a row and continue after them takes about this many bytes.
_ERASE_AND_MOVE = 10
_LONGEST_OVERPRINT = 9


class Pen:
    """The terminal's cursor and the look it writes with; column or row may be `_NOWHERE`."""

    __slots__ = ("look", "x", "y")

    def __init__(self, x: int = _NOWHERE, y: int = _NOWHERE, look: Look = PLAIN) -> None:
        self.x = x
        self.y = y
        self.look = look

    def copy(self) -> Pen:
        return Pen(self.x, self.y, self.look)


class RowEncoder:
    """Makes the bytes for a row.

    Attributes:
        pen: the cursor and the look after these bytes.
    """

    def __init__(self, wanted: Grid, y: int, changed: list[int], pen: Pen) -> None:
        self._text = wanted.text[y]
        self._looks = wanted.looks[y]
        self._columns = wanted.columns
        self._y = y
        self._changed = changed
        self._parts: list[str] = []
        self._runs: list[int] | None = None
        self.pen = pen.copy()

    def encode(self) -> str:
        """Return the bytes."""
        changed, index = self._changed, 0
        while index < len(changed):
            x = changed[index]
            look = self._look_for(x)
            self._go(x, look)
            self._switch(look)
            stop = self._erasable(x)
            if stop:
                self._parts.append("\x1b[K" if stop == self._columns else f"\x1b[{stop - x}X")
            else:
                stop = self._print(index)
            index = bisect_left(changed, stop, index)
        return "".join(self._parts)

    def _look_for(self, x: int) -> Look:
        """The look to write a cell with: for a space, one that avoids a change later on."""
        if self._text[x] != " ":
            return self._looks[x]
        blank = blank_of(self._looks[x])
        if blank_of(self.pen.look) is blank:
            return self.pen.look
        for later in range(x + 1, self._columns):
            if blank_of(self._looks[later]) is not blank:
                break
            if self._text[later] != " ":
                return self._looks[later]
        return blank

    def _go(self, x: int, look: Look) -> None:
        """Move to a column by a cursor sequence, or by printing again what is in between."""
        pen = self.pen
        way = move(pen, x, self._y)
        if pen.y == self._y and _NOWHERE < pen.x < x <= pen.x + min(len(way), _LONGEST_OVERPRINT):
            way = self._overprint(pen.x, x, look) or way
        self._parts.append(way)
        pen.x, pen.y = x, self._y

    def _overprint(self, x: int, stop: int, look: Look) -> str:
        """The characters of a gap, if they can be printed without another change of look."""
        text = "".join(self._text[x:stop])
        if len(text) == stop - x and text.isascii():
            if all(self._suits(self.pen.look, at) for at in range(x, stop)):
                return text
            if all(self._suits(look, at) for at in range(x, stop)):
                self._switch(look)
                return text
        return ""

    def _suits(self, look: Look, x: int) -> bool:
        """Whether a cell may be written with a look."""
        wanted = self._looks[x]
        return wanted is look or (self._text[x] == " " and blank_of(wanted) is blank_of(look))

    def _switch(self, look: Look) -> None:
        if look is not self.pen.look:
            self._parts.append(sgr_between(self.pen.look, look))
            self.pen.look = look

    def _erasable(self, x: int) -> int:
        """The end of a run of spaces at ``x`` if it is cheaper to erase than to print; else 0."""
        stop = self._blank_runs()[x]
        if not stop:
            return 0
        last = self._changed[bisect_left(self._changed, stop) - 1]
        needed = last + 1 - x
        if stop == self._columns:
            return stop if needed > len("\x1b[K") else 0
        least = _ERASE_AND_MOVE if last != self._changed[-1] else len("\x1b[9X")
        return x + needed if needed > least else 0

    def _blank_runs(self) -> list[int]:
        """For each column, the end of the run of plain spaces that it is in, or 0."""
        if self._runs is None:
            self._runs = [0] * self._columns
            stop = 0
            for x in range(self._columns - 1, -1, -1):
                if self._text[x] == " " and blank_of(self._looks[x]) is PLAIN:
                    stop = stop or x + 1
                    self._runs[x] = stop
                else:
                    stop = 0
        return self._runs

    def _print(self, index: int) -> int:
        """Print a changed cell, and those after it that can follow directly.

        Returns:
            The column after the last one.
        """
        text, changed, look = self._text, self._changed, self.pen.look
        x = stop = changed[index]
        for at in changed[index:]:
            piece = text[at]
            if at != stop or (at != x and not self._suits(look, at)):
                break
            if piece == " " and at != x and text[at - 1] != " " and self._erasable(at):
                break
            if not (piece.isascii() or NARROW.fullmatch(piece)):
                return self._print_unsure(x, at)
            stop = at + 1
        self._parts += text[x:stop]
        # Terminals disagree on where the cursor is after the last column.
        self.pen.x = stop if stop < self._columns else _NOWHERE
        return stop

    def _print_unsure(self, x: int, at: int) -> int:
        """Print up to and including a character on whose width terminals disagree."""
        stop = at + 1
        while stop < self._columns and self._text[stop] == "":
            stop += 1
        self._parts += self._text[x:stop]
        self.pen.x = _NOWHERE
        return stop


def move(pen: Pen, x: int, y: int) -> str:
    """Return the shortest move to a cell; an absolute one unless another is shorter."""
    if (pen.x, pen.y) == (x, y):
        return ""
    ways = [_absolute(x, y)]
    if pen.y == y:
        ways.append("\r" + _forward(x))
        if pen.x > x:
            ways += [_counted(pen.x - x, "D"), "\b" * (pen.x - x)]
        elif pen.x != _NOWHERE:
            ways.append(_forward(x - pen.x))
    elif pen.y != _NOWHERE:
        if y > pen.y:
            ways.append("\r" + "\n" * (y - pen.y) + _forward(x))
        if pen.x == x:
            ways.append(_counted(abs(y - pen.y), "B" if y > pen.y else "A"))
    return min(ways, key=len)


def _absolute(x: int, y: int) -> str:
    row = str(y + 1) if y else ""
    return f"\x1b[{row};{x + 1}H" if x else f"\x1b[{row}H"


def _forward(count: int) -> str:
    return _counted(count, "C") if count else ""


def _counted(count: int, final: str) -> str:
    return f"\x1b[{count if count > 1 else ''}{final}"
