"""Frames as Textual would write them, and terminals to compare them on."""

from __future__ import annotations

import unicodedata

import pyte
from hypothesis import strategies as st

from tpmconsole.ui.terminal.output.grid import Grid
from tpmconsole.ui.terminal.output.style import BOLD, REVERSE, STRIKE, UNDERLINE, blank_of

Cell = tuple[str, str, str, bool, bool, bool, bool]

_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")

words = st.text("ab z-", min_size=1, max_size=30)
blanks = st.integers(1, 40).map(lambda count: " " * count)
foreign = st.text("aé世界e\u0301─x🙂 ", min_size=1, max_size=12)
sgr = st.lists(
    st.sampled_from(["0", "1", "4", "7", "31", "32", "39", "44", "49", "97", "104", "22", "27"]),
    max_size=3,
).map(lambda codes: f"\x1b[{';'.join(codes)}m")


def moves(columns: int, rows: int) -> st.SearchStrategy[str]:
    """Cursor positions, also a little outside the screen."""
    return st.tuples(st.integers(1, rows + 1), st.integers(1, columns + 1)).map(
        lambda at: f"\x1b[{at[0]};{at[1]}H"
    )


def frames(columns: int, rows: int, *, wide: bool = True) -> st.SearchStrategy[str]:
    """What Textual might write for one frame."""
    text = st.one_of(words, blanks, foreign) if wide else st.one_of(words, blanks)
    piece = st.tuples(moves(columns, rows), sgr, text, st.just("\x1b[0m")).map("".join)
    return st.lists(st.one_of(piece, text, st.just("\n")), max_size=40).map("".join)


def terminal(columns: int, rows: int) -> tuple[pyte.Screen, pyte.Stream]:
    """A terminal as the driver leaves it: no wrapping at the end of a row."""
    screen = pyte.Screen(columns, rows)
    stream = pyte.Stream(screen)
    stream.feed("\x1b[?7l")
    return screen, stream


def shown_on(screen: pyte.Screen) -> list[list[Cell]]:
    """What can be seen on a terminal."""
    rows = [
        [_pyte_cell(screen.buffer[y][x]) for x in range(screen.columns)]
        for y in range(screen.lines)
    ]
    for row in rows:
        for x, cell in enumerate(row):
            # pyte puts the marks of a wide character into its right half.
            if cell[0] and unicodedata.combining(cell[0][0]):
                row[x - 1] = (row[x - 1][0] + cell[0], *row[x - 1][1:])
                row[x] = ("", *cell[1:])
    return rows


def shown_in(grid: Grid) -> list[list[Cell]]:
    """What can be seen in a grid."""
    return [[_grid_cell(grid, x, y) for x in range(grid.columns)] for y in range(grid.rows)]


def _pyte_cell(cell: pyte.screens.Char) -> Cell:
    hidden = cell.data == " " and not (cell.underscore or cell.reverse or cell.strikethrough)
    return (
        cell.data,
        "default" if hidden else cell.fg,
        cell.bg,
        False if cell.data == " " else cell.bold,
        cell.underscore,
        cell.reverse,
        cell.strikethrough,
    )


def _grid_cell(grid: Grid, x: int, y: int) -> Cell:
    text = unicodedata.normalize("NFC", grid.text[y][x])
    look = grid.looks[y][x]
    if text == " ":
        look = blank_of(look)
    return (
        text,
        _colour(look.foreground),
        _colour(look.background),
        bool(look.flags & BOLD) and text != " ",
        bool(look.flags & UNDERLINE),
        bool(look.flags & REVERSE),
        bool(look.flags & STRIKE),
    )


def _colour(parameters: str) -> str:
    if not parameters:
        return "default"
    code = int(parameters)
    bright = "bright" if code >= 90 else ""
    return bright + _NAMES[code % 10]
