"""A pane of facts that fits itself to the width it has."""

from __future__ import annotations

from collections.abc import Iterable

from textual import events
from textual.content import Content
from textual.widgets import Static

from tpmconsole.ui.rows import STATE_WIDTH, Fact, Heading, lay_out


class Details(Static):
    """Facts and headings, laid out again when the width changes; the same again costs nothing.

    Args:
        state_width: of the column of state words; 0 where no fact has one.
        width: what it will have, where that is known: it is then as high at once as it stays, and
            what is around it is painted once.
    """

    def __init__(
        self,
        items: Iterable[Fact | Heading] = (),
        *,
        classes: str = "",
        state_width: int = STATE_WIDTH,
        width: int = 0,
    ) -> None:
        self._state_width = state_width
        self._items = tuple(items)
        first = lay_out(self._items, width, state_width) if width else ""
        super().__init__(first, classes=classes)

    def present(self, items: Iterable[Fact | Heading]) -> None:
        """Show these instead."""
        self._items = tuple(items)
        self._lay_out()

    def on_resize(self, _: events.Resize) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        width = self.size.width or self.app.size.width
        self._show(lay_out(self._items, width, self._state_width))

    def _show(self, content: Content) -> None:
        if content != self.content:
            self.update(content)


class DetailPane(Details):
    """The pane below a page's list; where it has more rows than fit, Space turns it over.

    A scroll bar would cost bytes at every move.
    """

    def __init__(self, *, state_width: int = STATE_WIDTH) -> None:
        super().__init__(classes="detail", state_width=state_width)
        self._top = self._rows = 0
        self._position = ""

    def place(self, position: str) -> None:
        """Say where in its list the cursor is; what is shown of the new row is its beginning."""
        self._position, self._top = position, 0
        self._lay_out()

    def turn(self) -> None:
        """Show the rows that follow; after the last, the first again."""
        self._top += self._height
        self._lay_out()

    @property
    def _height(self) -> int:
        return max(1, self.size.height)

    def _show(self, content: Content) -> None:
        lines = content.split("\n", allow_blank=True)
        self._rows = len(lines)
        if self._top >= self._rows:
            self._top = 0
        more = self.size.height and self._rows > self._height
        self.border_title = Content(f"Space: more   {self._position}" if more else self._position)
        shown = lines[self._top : self._top + self._height] if more else lines
        super()._show(Content("\n").join(shown))
