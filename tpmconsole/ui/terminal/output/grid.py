"""A grid of cells: what a terminal shows, or should show.

Pure: no Textual, no descriptor. A cell holds one character with its combining marks, and its look.
A wide character is in its left cell; its right cell holds the empty string. Half a wide character
is never left alone, because terminals disagree on its look.
"""

from __future__ import annotations

import re
from functools import lru_cache

from rich.cells import split_graphemes

from tpmconsole.ui.terminal.output.style import PLAIN, Look

# Characters that take one cell on every terminal: fast to handle, and the cursor stays known.
NARROW = re.compile("[ -~\xa0-\xac\xae-\u02ff\u2500-\u25fc\u2800-\u28ff]*")

# Long enough for a family of emoji; no real name has more combining marks.
_LONGEST_CELL = 16

_ASCII = str.maketrans(
    {
        **dict.fromkeys("─━╌╍┄┅┈┉╴╶╸╺═▔▁―—–‐‑", "-"),  # noqa: RUF001 (these are the ones meant)
        **dict.fromkeys("│┃╎╏┆┇┊┋╵╷╹╻║▏▕▎▊▌▐", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝╠╣╦╩╬┏┓┗┛┣┫┳┻╋", "+"),
        **dict.fromkeys("█▇▆▅▄▃▂▉▓▒░■", "#"),
        **dict.fromkeys("•●○◉◆◇·⋅★☆", "*"),
        **dict.fromkeys("→▶►▸›»❯", ">"),  # noqa: RUF001
        **dict.fromkeys("←◀◄◂‹«❮", "<"),  # noqa: RUF001
        **dict.fromkeys("↑▲▴", "^"),
        **dict.fromkeys("↓▼▾", "v"),
        **dict.fromkeys("‘’‚′`´", "'"),  # noqa: RUF001
        **dict.fromkeys("“”„″", '"'),
        "…": ".",
        "✓": "+",
        "✔": "+",
        "✗": "x",
        "✘": "x",
        "×": "x",  # noqa: RUF001
        "\xa0": " ",
    }
)


class Grid:
    """Rows of cells.

    Attributes:
        columns: the width in cells.
        rows: the height in cells.
        text: a list of characters for each row.
        looks: a list of looks for each row.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.rows = rows
        self.text: list[list[str]] = []
        self.looks: list[list[Look]] = []
        self.clear()

    def clear(self) -> None:
        """Fill every cell with a plain space."""
        self.text = [[" "] * self.columns for _ in range(self.rows)]
        self.looks = [[PLAIN] * self.columns for _ in range(self.rows)]

    def resize(self, columns: int, rows: int) -> None:
        """Change the size. What fits stays in place; the new cells hold plain spaces."""
        old_text, old_looks = self.text, self.looks
        kept = min(columns, self.columns)
        self.columns, self.rows = columns, rows
        self.clear()
        for y in range(min(rows, len(old_text))):
            self.text[y][:kept] = old_text[y][:kept]
            self.looks[y][:kept] = old_looks[y][:kept]
            if kept < len(old_text[y]) and old_text[y][kept] == "":
                self.text[y][kept - 1] = " "

    def put(self, x: int, y: int, text: str, look: Look) -> int:
        """Write characters into a row, cut off at its end.

        Args:
            x: the first column.
            y: the row; nothing happens outside the grid.
            text: printable characters only.
            look: their look.

        Returns:
            The column after the last character, even if it is outside the grid.
        """
        if not (text.isascii() or NARROW.fullmatch(text)):
            return self._put_graphemes(x, y, text, look)
        end = x + len(text)
        stop = min(end, self.columns)
        if 0 <= y < self.rows and 0 <= x < stop:
            self._free(x, stop, y)
            self.text[y][x:stop] = text[: stop - x]
            self.looks[y][x:stop] = [look] * (stop - x)
        return end

    def blank(self, x: int, stop: int, y: int, look: Look = PLAIN) -> None:
        """Fill the cells of a row from column ``x`` up to ``stop`` with spaces."""
        self.put(x, y, " " * (stop - x), look)

    def take(self, other: Grid, y: int) -> None:
        """Copy a row from a grid of the same size."""
        self.text[y][:] = other.text[y]
        self.looks[y][:] = other.looks[y]

    def lines(self) -> list[str]:
        """The text of each row, for tests and logs."""
        return ["".join(row) for row in self.text]

    def _put_graphemes(self, x: int, y: int, text: str, look: Look) -> int:
        for start, end, width in split_graphemes(text)[0]:
            piece = text[start:end][:_LONGEST_CELL]
            if width == 0:
                self._combine(x, y, piece)
                continue
            if 0 <= y < self.rows and x + width <= self.columns:
                self._free(x, x + width, y)
                self.text[y][x : x + width] = [piece, *[""] * (width - 1)]
                self.looks[y][x : x + width] = [look] * width
            elif 0 <= y < self.rows and x < self.columns:
                # A wide character that does not fit into the last column: leave that empty.
                self.blank(x, self.columns, y, look)
            x += width
        return x

    def _combine(self, x: int, y: int, marks: str) -> None:
        """Add combining marks to the character before column ``x``."""
        if not (0 <= y < self.rows and 0 < x <= self.columns):
            return
        row = self.text[y]
        x -= 2 if row[x - 1] == "" and x > 1 else 1
        row[x] = (row[x] + marks)[:_LONGEST_CELL]

    def _free(self, x: int, stop: int, y: int) -> None:
        """Clear the outer halves of wide characters that a write to ``x``…``stop`` cuts in two."""
        row = self.text[y]
        if row[x] == "" and x:
            row[x - 1] = " "
        if stop < self.columns and row[stop] == "":
            row[stop] = " "


@lru_cache(maxsize=1024)
def to_ascii(text: str) -> str:
    """Convert a text to ASCII of the same width: lines and corners stay, the rest become ``?``.

    A letter is never shown without its accent: that would be another text.
    """
    if text.isascii():
        return text
    return "".join(
        _ascii_cell(text[start:end], width) for start, end, width in split_graphemes(text)[0]
    )


def _ascii_cell(grapheme: str, width: int) -> str:
    plain = grapheme.translate(_ASCII)
    if len(plain) > 1 or not (plain.isascii() and plain.isprintable()):
        plain = "?"
    return (plain * width)[:width]
