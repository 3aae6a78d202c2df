"""Finding out that a frame is the last one with some rows moved up or down.

The terminal can move them itself, in a scrolling region (DECSTBM, of VT100s already): a table that
scrolls by a row needs a fifth of the bytes.
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
        """What does it on a terminal whose look is plain; the cursor ends anywhere.

        Line feeds come at column 0, where it does not matter if something adds a CR.
        """
        region = f"\x1b[{self.top + 1};{self.bottom + 1}r"
        if self.distance > 0:
            feeds = "\n" * self.distance
            return f"{region}\x1b[{self.bottom + 1}H{feeds}\x1b[r"
        start = f"\x1b[{self.top + 1}H" if self.top else ""
        feeds = "\x1bM" * -self.distance  # reverse index
        return f"{region}{start}{feeds}\x1b[r"

    def apply(self, grid: Grid) -> Grid:
        """A grid as it is after that."""
        moved = Grid(grid.columns, grid.rows)
        for y in range(grid.rows):
            source = y + self.distance if self.top <= y <= self.bottom else y
            if self.top <= source <= self.bottom or source == y:
                moved.text[y][:] = grid.text[source]
                moved.looks[y][:] = grid.looks[source]
        return moved


def find_scroll(wanted: Grid, shown: Grid) -> Scroll | None:
    """The move that explains most of the rows whose text changed, if it explains a few."""
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
