"""A pane of facts that fits itself to the width it has."""

from __future__ import annotations

from collections.abc import Iterable

from textual import events
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
        content = lay_out(self._items, width, self._state_width)
        if content != self.content:
            self.update(content)
