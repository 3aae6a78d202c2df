"""A pane of facts that adapts to its width."""

from __future__ import annotations

from collections.abc import Iterable

from textual import events
from textual.widgets import Static

from tpmconsole.ui.rows import STATE_WIDTH, Fact, Heading, lay_out


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
        content = lay_out(self._items, width, self._state_width)
        if content != self.content:
            self.update(content)
