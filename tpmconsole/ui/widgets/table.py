"""A table that moves its cursor with few bytes, and whose last column takes the remaining width.

Textual's DataTable keeps an object for every cell and measures each row: with ten thousand rows,
the keyboard waits for seconds. This table only lays out the visible rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tpmconsole.text import cells, short
from tpmconsole.ui.rows import same, state_style

WIDE = 132  # columns of a terminal that has room for more than an answer to "which one"
GAP = 2  # a space on both sides of each cell
WHEEL = 3


class Column(NamedTuple):
    """A column of a table. Its width depends on the terminal alone, never on what it shows.

    Attributes:
        title: shown above it.
        width: on a terminal of 80 columns, in cells.
        most: the width that it grows to on a wider terminal.
        since: the narrowest terminal that shows it, in columns.
        digest: whether it holds digests, which are looked for by their beginning.
    """

    title: str
    width: int
    most: int = 0
    since: int = 0
    digest: bool = False


class Table(Static, can_focus=True):
    """Rows of text; one column may hold state words.

    The cursor is only the first cell in reverse video: if it were the whole row, every move would
    have to send two whole rows.

    Args:
        columns: on a wide terminal each one grows towards its ``most``; the last one gets the rest.
        state_column: the column that holds state words.
        header: whether the columns' titles are shown.

    Attributes:
        cursor_row: the row under the cursor; 0 in an empty table.
        empty: what an empty table shows.
    """

    ALLOW_SELECT = False

    class Moved(Message):
        """The cursor is on another row, or the number of rows has changed."""

    class Pressed(Message):
        """Enter was pressed, or the row under the cursor was clicked."""

    def __init__(
        self, columns: Sequence[Column], state_column: int, *, header: bool = True
    ) -> None:
        super().__init__("")
        self._header = int(header)
        self._layout = columns
        self._state_column = state_column
        self._texts: Sequence[Sequence[str]] = ()
        self._top = 0
        self.cursor_row = 0
        self.empty = ""

    @property
    def row_count(self) -> int:
        return len(self._texts)

    @property
    def chosen(self) -> int | None:
        """The index of the row under the cursor; None in an empty table."""
        return self.cursor_row if self._texts else None

    def present(self, rows: Sequence[Sequence[str]], chosen: int | None = None) -> None:
        """Show other rows; the cursor stays where it is.

        Args:
            chosen: the row for the cursor instead, because its row has moved.
        """
        before = (self.cursor_row, len(self._texts))
        self._texts = rows
        self._put_cursor(self.cursor_row if chosen is None else chosen)
        if before != (self.cursor_row, len(self._texts)):
            self.post_message(self.Moved())

    def move_cursor(self, *, row: int) -> None:
        """Move the cursor to a row, or to the nearest row that exists."""
        self._put_cursor(row)
        self.post_message(self.Moved())

    def fits(self, text: str, column: int = -1) -> bool:
        """Whether a column, the last one by default, shows the text in full."""
        return cells(text) <= self._widths()[column]

    @property
    def cut(self) -> bool:
        """Whether the first text under the cursor is not shown in full."""
        return bool(self._texts) and cells(self._texts[self.cursor_row][0]) > self._widths()[0]

    # Keys and the mouse

    def on_key(self, event: events.Key) -> None:
        page = max(1, self.size.height - 1 - self._header)
        goals = {
            "up": self.cursor_row - 1,
            "down": self.cursor_row + 1,
            "pageup": self.cursor_row - page,
            "pagedown": self.cursor_row + page,
            "home": 0,
            "end": len(self._texts) - 1,
        }
        if event.key in goals:
            event.stop()
            self.move_cursor(row=goals[event.key])
        elif event.key == "enter":
            event.stop()
            self.post_message(self.Pressed())

    def on_click(self, event: events.Click) -> None:
        row = self._top + event.y - self._header
        if row == self.cursor_row:
            self.post_message(self.Pressed())
        elif event.y >= self._header and row < len(self._texts):
            self.move_cursor(row=row)

    def on_mouse_scroll_down(self) -> None:
        self.move_cursor(row=self.cursor_row + WHEEL)

    def on_mouse_scroll_up(self) -> None:
        self.move_cursor(row=self.cursor_row - WHEEL)

    # Layout

    def on_resize(self, _: events.Resize) -> None:
        self._lay_out()

    def _put_cursor(self, row: int) -> None:
        self.cursor_row = max(0, min(row, len(self._texts) - 1))
        self._lay_out()

    def _lay_out(self) -> None:
        height = self.size.height - self._header
        if height < 1:
            return
        # Move the window only if the cursor would leave it: then it scrolls, which takes few bytes.
        self._top = min(self._top, self.cursor_row, max(0, len(self._texts) - height))
        self._top = max(self._top, self.cursor_row - height + 1)
        widths = self._widths()
        titles = [column.title for column in self._layout]
        lines = [Content.styled(_line(titles, widths), "bold")] * self._header
        if not self._texts and self.empty:
            lines.append(Content(f" {short(self.empty, max(1, self.size.width - 1))}"))
        for row in range(self._top, min(self._top + height, len(self._texts))):
            lines.append(self._row(row, widths))
        content = Content("\n").join(lines)
        if not same(content, self.content):
            self.update(content)

    def _widths(self) -> list[int]:
        """The width of each column; 0 for one that this terminal has no room for."""
        shown = [column for column in self._layout if column.since <= self.app.size.width]
        room = (self.size.width or self.app.size.width) - GAP * len(shown)
        spare = max(0, room - sum(column.width for column in shown))
        wishes = [max(0, column.most - column.width) for column in shown]
        wished = sum(wishes)
        widths = [
            column.width + (min(wish, spare * wish // wished) if wish else 0)
            for column, wish in zip(shown, wishes, strict=True)
        ]
        # Never wider than the screen: a wrapped row would push other rows out of sight.
        widths[-1] = max(1, room - sum(widths[:-1]))
        given = iter(widths)
        return [next(given) if column in shown else 0 for column in self._layout]

    def row_style(self, row: int) -> str:  # noqa: ARG002
        """The style of a whole row."""
        return ""

    def _row(self, row: int, widths: Sequence[int]) -> Content:
        texts = self._texts[row]
        line = Content.styled(_line(texts, widths), self.row_style(row))
        if row == self.cursor_row:
            first = short(texts[0], widths[0])
            line = line.stylize("reverse", 1, 1 + max(1, len(first)))
        if self._state_column < 0:
            return line
        state = short(texts[self._state_column], widths[self._state_column])
        style = state_style(state)
        if style:
            start = len(_line(texts[: self._state_column], widths)) + 1
            line = line.stylize(style, start, start + len(state))
        return line


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(texts, widths, strict=False)
    return "".join(f" {_padded(text, width)} " for text, width in pairs if width)


def _padded(text: str, width: int) -> str:
    shown = short(text, width)
    return shown + " " * (width - cells(shown))
