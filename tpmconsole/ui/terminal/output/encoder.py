"""Find the fewest bytes that turn what a terminal shows into what it should show.

Pure: give it the wanted grid and send what it returns. ``row.py`` lists the sequences that it uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tpmconsole.ui.terminal.output.grid import Grid
from tpmconsole.ui.terminal.output.row import Pen, RowEncoder, move
from tpmconsole.ui.terminal.output.scroll import find_scroll
from tpmconsole.ui.terminal.output.style import PLAIN, blank_of, sgr_between

CLEAR = "\x1b[m\x1b[H\x1b[J"
"""Clear the screen and send the cursor home (ED 0 from there is one byte less than ED 2)."""

# In a frame of fewer bytes than this, moving rows does not save bytes.
_WORTH_SCROLLING = 100


class _RowBytes(NamedTuple):
    """What to send for row ``y``, and the state of the pen after it."""

    y: int
    text: str
    pen: Pen


class Encoder:
    """Keeps track of what a terminal shows, and makes the bytes that change it.

    Args:
        columns: the terminal's width.
        rows: its height.
        may_clear: a frame may start with a cleared screen if that needs fewer bytes.

    After construction, `forget` or `resize`, the next frame starts with `CLEAR`.
    """

    def __init__(self, columns: int, rows: int, *, may_clear: bool = False) -> None:
        self.shown = Grid(columns, rows)
        self._pen = Pen()
        self._may_clear = may_clear
        self._unknown = True
        self._first_row = 0

    def forget(self) -> None:
        """Forget what the terminal shows."""
        self.shown.clear()
        self._pen = Pen()
        self._unknown = True
        self._first_row = 0

    def resize(self, columns: int, rows: int) -> None:
        """Use a new size, and forget what the terminal shows: terminals reflow differently."""
        self.shown.resize(columns, rows)
        self.forget()

    def lost_cursor(self) -> None:
        """Forget where the cursor is: something else has moved it."""
        self._pen = Pen(look=self._pen.look)

    def encode(self, wanted: Grid, limit: int | None = None) -> str:
        """Return what to send so that the terminal shows the wanted grid.

        Args:
            wanted: a grid of the terminal's size.
            limit: stop after the row that reaches this many characters; the next call continues
                from there, with the grid that is wanted then. None: the whole frame.

        Returns:
            The characters to send. The caller must send them: from now on they count as shown.
            Empty if the terminal already shows the wanted grid.
        """
        prefix, rows = self._cheapest(wanted)
        parts, length = [prefix], len(prefix)
        first_row = 0
        for row in rows:
            self.shown.take(wanted, row.y)
            self._pen = row.pen
            parts.append(row.text)
            length += len(row.text)
            if limit is not None and length >= limit:
                first_row = (row.y + 1) % wanted.rows
                break
        self._first_row = first_row
        return "".join(parts)

    def place_cursor(self, x: int, y: int) -> str:
        """Return what to send to place the cursor in a cell."""
        text = move(self._pen, x, y)
        self._pen = Pen(x, y, self._pen.look)
        return text

    def _cheapest(self, wanted: Grid) -> tuple[str, list[_RowBytes]]:
        """Return a prefix to send first, and the rows; updates `shown` and the pen for the prefix.

        The prefix is empty, or moves rows that have only moved, or clears the screen.
        """
        if self._unknown:
            self._unknown = False
            return self._start_with(CLEAR, Grid(wanted.columns, wanted.rows), Pen(0, 0), wanted)
        rows = self._rows(wanted, self.shown, self._pen)
        least = _length(rows)
        best: tuple[str, Grid, Pen] | None = None
        for prefix, grid, pen in self._alternatives(wanted, least):
            length = len(prefix) + _length(self._rows(wanted, grid, pen))
            if length < least:
                least, best = length, (prefix, grid, pen)
        return self._start_with(*best, wanted) if best else ("", rows)

    def _alternatives(self, wanted: Grid, length: int) -> Iterator[tuple[str, Grid, Pen]]:
        """Yield prefixes for a frame of a length, with the grid and the pen after each."""
        if length >= _WORTH_SCROLLING and (scroll := find_scroll(wanted, self.shown)):
            plain = sgr_between(self._pen.look, PLAIN)
            # Not every terminal moves the cursor home when the region is reset.
            yield plain + scroll.sequence(), scroll.apply(self.shown), Pen()
        if self._may_clear and length >= wanted.columns * wanted.rows // 4:
            yield CLEAR, Grid(wanted.columns, wanted.rows), Pen(0, 0)

    def _start_with(
        self, prefix: str, shown: Grid, pen: Pen, wanted: Grid
    ) -> tuple[str, list[_RowBytes]]:
        self.shown, self._pen, self._first_row = shown, pen, 0
        return prefix, self._rows(wanted, shown, pen)

    def _rows(self, wanted: Grid, shown: Grid, pen: Pen) -> list[_RowBytes]:
        """Return what to send for each row that differs, starting at `_first_row`."""
        rows: list[_RowBytes] = []
        first = self._first_row
        for y in (*range(first, wanted.rows), *range(first)):
            if wanted.text[y] == shown.text[y] and wanted.looks[y] == shown.looks[y]:
                continue
            if changed := _changed_columns(wanted, shown, y):
                row = RowEncoder(wanted, y, changed, pen)
                text = row.encode()
                pen = row.pen
                rows.append(_RowBytes(y, text, pen))
        return rows


def _length(rows: list[_RowBytes]) -> int:
    return sum(len(row.text) for row in rows)


def _changed_columns(wanted: Grid, shown: Grid, y: int) -> list[int]:
    """The columns where a row looks different. A space does not show the colour of the text."""
    text, looks = wanted.text[y], wanted.looks[y]
    old_text, old_looks = shown.text[y], shown.looks[y]
    return [
        x
        for x in range(wanted.columns)
        if text[x] != old_text[x]
        or (
            looks[x] is not old_looks[x]
            and not (text[x] == " " and blank_of(looks[x]) is blank_of(old_looks[x]))
        )
    ]
