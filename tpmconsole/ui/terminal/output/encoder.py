"""The fewest bytes that turn what a terminal shows into what it should show.

Pure: give it the wanted grid, send what it returns. ``row.py`` says which sequences it uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tpmconsole.ui.terminal.output.grid import Grid
from tpmconsole.ui.terminal.output.row import Pen, RowEncoder, move
from tpmconsole.ui.terminal.output.scroll import find_scroll
from tpmconsole.ui.terminal.output.style import PLAIN, blank_of, sgr_between

CLEAR = "\x1b[m\x1b[H\x1b[J"
"""Everything plain and blank, the cursor at home. (ED 0 from home: one byte less than ED 2.)"""

# In a frame of fewer bytes than this, moving rows saves nothing.
_WORTH_SCROLLING = 100


class _RowBytes(NamedTuple):
    """What to send for row ``y``, and where that leaves the pen."""

    y: int
    text: str
    pen: Pen


class Encoder:
    """Knows what one terminal shows, and makes the bytes that change it.

    Args:
        columns: the terminal's width.
        rows: its height.
        may_clear: a frame may start from a cleared screen where that needs fewer bytes.

    After construction, `forget` and `resize` the next frame starts with `CLEAR`.
    """

    def __init__(self, columns: int, rows: int, *, may_clear: bool = False) -> None:
        self.shown = Grid(columns, rows)
        self._pen = Pen()
        self._may_clear = may_clear
        self._unknown = True
        self._first_row = 0

    def forget(self) -> None:
        """Nothing is known any more about what the terminal shows."""
        self.shown.clear()
        self._pen = Pen()
        self._unknown = True
        self._first_row = 0

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size, and did as it liked with what it showed."""
        self.shown.resize(columns, rows)
        self.forget()

    def lost_cursor(self) -> None:
        """Something else moved the cursor."""
        self._pen = Pen(look=self._pen.look)

    def encode(self, wanted: Grid, limit: int | None = None) -> str:
        """What to send so that the terminal shows the wanted grid.

        Args:
            wanted: a grid of the terminal's size.
            limit: stop after the row that reaches this many characters; the next call goes on
                from there, with whatever is wanted then. None: the whole frame.

        Returns:
            The characters to send, and to be sent: from now on they count as shown. Empty where
            the terminal shows all that is wanted.
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
        """What to send so that the cursor stands in a cell."""
        text = move(self._pen, x, y)
        self._pen = Pen(x, y, self._pen.look)
        return text

    def _cheapest(self, wanted: Grid) -> tuple[str, list[_RowBytes]]:
        """Something to send first, after which `shown` and the pen are up to date; and the rows.

        First may come: nothing, moving rows that only moved, or clearing the screen.
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
        """Ways to start a frame of that length, and what the terminal shows then, and its pen."""
        if length >= _WORTH_SCROLLING and (scroll := find_scroll(wanted, self.shown)):
            plain = sgr_between(self._pen.look, PLAIN)
            # Not every terminal moves the cursor home when the region goes.
            yield plain + scroll.sequence(), scroll.apply(self.shown), Pen()
        if self._may_clear and length >= wanted.columns * wanted.rows // 4:
            yield CLEAR, Grid(wanted.columns, wanted.rows), Pen(0, 0)

    def _start_with(
        self, prefix: str, shown: Grid, pen: Pen, wanted: Grid
    ) -> tuple[str, list[_RowBytes]]:
        self.shown, self._pen, self._first_row = shown, pen, 0
        return prefix, self._rows(wanted, shown, pen)

    def _rows(self, wanted: Grid, shown: Grid, pen: Pen) -> list[_RowBytes]:
        """What to send for each row that differs, from `_first_row` on and round."""
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
    """The columns where a row looks different; colours of the text do not show on a blank."""
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
