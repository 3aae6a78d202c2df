"""A table whose cursor costs few bytes, and whose last column takes what width is left."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.widgets import DataTable

from tpmconsole.text import short
from tpmconsole.ui.styled import state_style

GAP = 2  # DataTable pads each cell by one on both sides


class Table(DataTable[Content]):
    """Rows of text; one column may hold state words.

    The cursor is a mark and reverse video on the first cell only: a whole row in reverse would have
    to be sent twice at every move.

    Args:
        columns: title and width of each; the last one's width is the least it gets.
        state_column: the column that holds state words.
    """

    def __init__(self, columns: Sequence[tuple[str, int]], state_column: int) -> None:
        super().__init__(
            cursor_type="row",
            cursor_foreground_priority="renderable",
            cursor_background_priority="renderable",
        )
        self._layout = columns
        self._state_column = state_column
        self._texts: list[tuple[str, ...]] = []
        self._marked = 0

    def present(self, rows: Sequence[Sequence[str]], chosen: int | None = None) -> None:
        """Show rows, changing only the cells that differ and keeping the cursor where it is.

        Args:
            chosen: where the cursor goes instead, because its row has moved.
        """
        self._show(rows)
        if chosen is not None and chosen != self.cursor_row:
            self.move_cursor(row=chosen)

    def _show(self, rows: Sequence[Sequence[str]]) -> None:
        texts = [tuple(row) for row in rows]
        if len(texts) < len(self._texts) or not self._texts or not self.columns:
            self._texts = texts
            self._rebuild()
            return
        for row, (old, new) in enumerate(zip(self._texts, texts, strict=False)):
            for column, text in enumerate(new):
                if text != old[column]:
                    self._texts[row] = new
                    self._put(row, column)
        for row in range(len(self._texts), len(texts)):
            self._texts.append(texts[row])
            self._add(row)

    @property
    def chosen(self) -> int | None:
        """The index of the row under the cursor; None in an empty table."""
        return self.cursor_row if 0 <= self.cursor_row < len(self._texts) else None

    def action_scroll_home(self) -> None:
        """Home: the first row. There is nothing to the left."""
        self.action_scroll_top()

    def action_scroll_end(self) -> None:
        """End: the last row."""
        self.action_scroll_bottom()

    def fits(self, text: str) -> bool:
        """Whether the last column shows the text in full."""
        return len(text) <= self.ordered_columns[-1].width

    def on_resize(self, _: events.Resize) -> None:
        self._rebuild()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        before, self._marked = self._marked, event.cursor_row
        for row in {before, self._marked}:
            # An older message may name a row that is gone by now; an empty table names row -1.
            if 0 <= row < min(self.row_count, len(self._texts)):
                self._put(row, 0)

    def _rebuild(self) -> None:
        cursor = self.cursor_row
        self.clear(columns=True)
        room = self.size.width or self.app.size.width
        *fixed, (last, least) = self._layout
        taken = sum(width + GAP for _, width in fixed) + GAP
        for name, width in (*fixed, (last, max(least, room - taken - 1))):
            self.add_column(name, width=width)
        self._marked = max(0, min(cursor, len(self._texts) - 1))
        for row in range(len(self._texts)):
            self._add(row)
        if self._texts:
            self.move_cursor(row=self._marked)

    def _add(self, row: int) -> None:
        self.add_row(*(self._cell(row, column) for column in range(len(self._layout))))

    def _put(self, row: int, column: int) -> None:
        self.update_cell_at((row, column), self._cell(row, column))  # type: ignore[arg-type]

    def _cell(self, row: int, column: int) -> Content:
        width = self.ordered_columns[column].width
        text = short(self._texts[row][column], width)
        if column == 0 and row == self._marked:
            return Content.styled(text.ljust(1), "reverse")
        if column == self._state_column:
            return Content.styled(text, state_style(text))
        return Content(text)
