"""Detect that a frame is the previous one with some rows moved up or down.

The terminal can move them itself in a scrolling region (DECSTBM, known since the VT100): a table
that scrolls by a row then needs a fifth of the bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from tpmconsole.ui.terminal.output.grid import Grid

_FARTHEST = 8
_FEWEST_ROWS = 4


class Scroll(NamedTuple):
    """Rows that move.

    Attributes:
        top: the first row of the region.
        bottom: its last row.
        distance: how many rows up; negative: down.
    """

    top: int
    bottom: int
    distance: int

    def sequence(self) -> str:
        """Return the sequence for a terminal with a plain look; the cursor may end anywhere.

        Line feeds are sent at column 0 because an added CR does no harm there.
        """
        region = f"\x1b[{self.top + 1};{self.bottom + 1}r"
        if self.distance > 0:
            feeds = "\n" * self.distance
            return f"{region}\x1b[{self.bottom + 1}H{feeds}\x1b[r"
        start = f"\x1b[{self.top + 1}H" if self.top else ""
        feeds = "\x1bM" * -self.distance  # reverse index
        return f"{region}{start}{feeds}\x1b[r"

    def apply(self, grid: Grid) -> Grid:
        """Return the grid after the move."""
        moved = Grid(grid.columns, grid.rows)
        for y in range(grid.rows):
            source = y + self.distance if self.top <= y <= self.bottom else y
            if self.top <= source <= self.bottom or source == y:
                moved.text[y][:] = grid.text[source]
                moved.looks[y][:] = grid.looks[source]
        return moved


def find_scroll(wanted: Grid, shown: Grid) -> Scroll | None:
    """Find the move that explains most of the changed rows, if it explains enough of them."""
    changed = [y for y in range(wanted.rows) if wanted.text[y] != shown.text[y]]
    if len(changed) < _FEWEST_ROWS:
        return None
    moved: dict[int, list[int]] = {}
    for distance in (*range(1, _FARTHEST + 1), *range(-_FARTHEST, 0)):
        moved[distance] = [
            y
            for y in changed
            if 0 <= y + distance < shown.rows and wanted.text[y] == shown.text[y + distance]
        ]
    distance, rows = max(moved.items(), key=lambda item: len(item[1]))
    if len(rows) < _FEWEST_ROWS:
        return None
    return Scroll(min(rows[0], rows[0] + distance), max(rows[-1], rows[-1] + distance), distance)
