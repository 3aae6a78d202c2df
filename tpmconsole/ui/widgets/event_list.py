"""A list of a session's events, one a line, that grows at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tpmconsole.ui.widgets.list_table import ListTable
from tpmconsole.ui.widgets.table import Column

Event = Mapping[str, Any]
KEPT = 5000
COLUMNS = (Column("time", 8), Column("event", 10), Column("text", 50))


class Filter(NamedTuple):
    """A filter on the kind of events."""

    name: str
    wants: Callable[[str], bool]


FILTERS = (
    Filter("all but messages", lambda kind: kind != "message"),
    Filter("all", lambda _: True),
    Filter("errors", lambda kind: kind == "error"),
    Filter("connections", lambda kind: kind in ("connecting", "handshake", "closed")),
    Filter("messages", lambda kind: kind == "message"),
)


class EventList(ListTable[Event]):
    """The events that pass the filter; the cursor marks one of them.

    While the list follows, the cursor stays on the newest event.

    Args:
        row: an event's time, kind and text.
    """

    def __init__(self, row: Callable[[Event], Sequence[str]]) -> None:
        # An event has no name; no two of them are the same object while both are kept.
        super().__init__(COLUMNS, -1, row, id, header=False, hides=False)
        self.empty = "no such events"
        self.view.wants = self._wants
        self._filter = 0
        self.following = True

    @property
    def filter(self) -> Filter:
        """The current filter."""
        return FILTERS[self._filter]

    def _wants(self, event: Event) -> bool:
        return self.filter.wants(str(event.get("event")))

    def append(self, more: Sequence[Event]) -> int:
        """Take new events; if there are too many, the oldest are dropped.

        Returns:
            The number of new events that pass the filter.
        """
        if more:
            self.view.replace([*self.view.all, *more][-KEPT:])
            self._show()
        return sum(map(self._wants, more))

    def next_filter(self) -> None:
        """Switch to the next filter; the cursor stays on its event if that is still shown."""
        self._filter = (self._filter + 1) % len(FILTERS)
        self.view.arrange()
        self._arranged()

    def to_last_error(self) -> bool:
        """Move the cursor to the newest error, changing the filter if necessary.

        Returns False if there is no error.
        """
        error = next((one for one in reversed(self.view.all) if one.get("event") == "error"), None)
        if error is None:
            return False
        if not self._wants(error):
            self._filter = 0
            self.view.arrange()
            self._show()
        row = self.view.index(id(error))
        self.move_cursor(row=0 if row is None else row)
        return True

    def move_cursor(self, *, row: int) -> None:
        super().move_cursor(row=row)
        self.following = self.view.column is None and self.cursor_row >= self.row_count - 1

    def sort(self) -> None:
        super().sort()
        self.following = False

    def row_style(self, row: int) -> str:
        return "bold $error" if self.view.shown[row].get("event") == "error" else ""

    def _show(self) -> None:
        if self.following or self.view.index(self._kept) is None:
            self.present(self._rows(), len(self.view.shown) - 1)
            self._keep()
            self.following = self.view.column is None
        else:
            self.present(self._rows(), self.view.index(self._kept))
