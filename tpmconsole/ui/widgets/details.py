"""A pane of facts that adapts to its width."""

from __future__ import annotations

from collections.abc import Iterable

from textual import events
from textual.content import Content
from textual.widgets import Static

from tpmconsole.ui.rows import STATE_WIDTH, Fact, Heading, lay_out, same


class Details(Static):
    """Facts and headings, laid out again when the width changes; unchanged ones send no bytes.

    Args:
        state_width: the width of the column of state words; 0 if no fact has one.
        width: the width that the pane will have; 0 if unknown. If it is given, the height is right
            from the start, and what is around the pane is painted only once.
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
        """Show other facts and headings."""
        self._items = tuple(items)
        self._lay_out()

    def on_resize(self, _: events.Resize) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        width = self.size.width or self.app.size.width
        self._show(lay_out(self._items, width, self._state_width))

    def _show(self, content: Content) -> None:
        if not same(content, self.content):
            self.update(content)


class DetailPane(Details):
    """The pane below a page's list. If it has more rows than fit, Space shows the next ones.

    A scroll bar would send bytes at every move.
    """

    def __init__(self, *, state_width: int = STATE_WIDTH) -> None:
        super().__init__(classes="detail", state_width=state_width)
        self._top = self._rows = 0
        self._position = ""

    def place(self, position: str) -> None:
        """Show where the cursor is in its list, and the first rows about what it is on."""
        self._position, self._top = position, 0
        self._lay_out()

    def turn(self) -> None:
        """Show the next rows; after the last, start again."""
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
