"""A list of a session's events, one a line, that grows at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tpmconsole.text import short
from tpmconsole.ui.rows import same

Event = Mapping[str, Any]
KEPT = 5000
_TIME = 8


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


class EventList(Static, can_focus=True):
    """The events that pass the filter; the cursor marks one of them.

    While the list follows, the cursor stays on the newest event. Only visible rows are laid out.

    Args:
        row: formats an event as a line of text.
    """

    class Moved(Message):
        """The cursor, the filter or the number of events has changed."""

    def __init__(self, row: Callable[[Event], str]) -> None:
        super().__init__("")
        self._row = row
        self._all: list[Event] = []
        self._shown: list[Event] = []
        self._filter = 0
        self._top = 0
        self.cursor = 0
        self.following = True

    @property
    def filter(self) -> Filter:
        """The current filter."""
        return FILTERS[self._filter]

    @property
    def count(self) -> int:
        """The number of events that pass the filter."""
        return len(self._shown)

    @property
    def chosen(self) -> Event | None:
        """The event under the cursor."""
        return self._shown[self.cursor] if self._shown else None

    def add(self, more: Iterable[Event]) -> int:
        """Append events; if there are too many, the oldest are dropped.

        Returns:
            The number of new events that pass the filter.
        """
        new = list(more)
        if not new:
            return 0
        self._all += new
        if len(self._all) > KEPT:
            del self._all[:-KEPT]
        chosen = self.chosen
        self._sift()
        self._move_to(None if self.following else chosen)
        return sum(self.filter.wants(str(one.get("event"))) for one in new)

    def next_filter(self) -> None:
        """Switch to the next filter; the cursor stays on its event if that is still shown."""
        chosen = self.chosen
        self._filter = (self._filter + 1) % len(FILTERS)
        self._sift()
        self._move_to(None if self.following else chosen)

    def follow(self) -> None:
        """Go to the newest event and follow new ones."""
        self._move_to(None)

    def to_last_error(self) -> bool:
        """Move the cursor to the newest error, changing the filter if necessary.

        Returns False if there is no error.
        """
        error = next((one for one in reversed(self._all) if one.get("event") == "error"), None)
        if error is None:
            return False
        if not self.filter.wants("error"):
            self._filter = 0
            self._sift()
        self._move_to(error)
        return True

    def on_key(self, event: events.Key) -> None:
        page = max(1, self.size.height - 1)
        steps = {"up": -1, "down": 1, "pageup": -page, "pagedown": page}
        if event.key in steps:
            self._go(self.cursor + steps[event.key])
        elif event.key == "home":
            self._go(0)
        elif event.key == "end":
            self.follow()
        else:
            return
        event.stop()

    def on_resize(self) -> None:
        self._present()

    def _sift(self) -> None:
        wants = self.filter.wants
        self._shown = [one for one in self._all if wants(str(one.get("event")))]

    def _move_to(self, event: Event | None) -> None:
        """Move the cursor to an event or, if it is not shown, to the newest, and follow that."""
        for index in range(len(self._shown) - 1, -1, -1):
            if self._shown[index] is event:
                self._go(index)
                return
        self._go(len(self._shown) - 1)

    def _go(self, index: int) -> None:
        last = len(self._shown) - 1
        self.cursor = max(0, min(index, last))
        self.following = self.cursor >= last
        self._present()
        self.post_message(self.Moved())

    def _present(self) -> None:
        height, width = self.size.height, self.size.width
        if not height:
            return
        # Move the window only if the cursor would leave it: then it scrolls, which takes few bytes.
        self._top = min(self._top, self.cursor, max(0, len(self._shown) - height))
        self._top = max(self._top, self.cursor - height + 1)
        rows = [
            self._line(index, width)
            for index in range(self._top, min(self._top + height, len(self._shown)))
        ]
        content = Content("\n").join(rows or [Content("no such events")])
        if not same(content, self.content):
            self.update(content)

    def _line(self, index: int, width: int) -> Content:
        event = self._shown[index]
        text = short(self._row(event), width)
        style = "bold $error" if event.get("event") == "error" else ""
        mark = "reverse" if index == self.cursor else style
        return Content.assemble((text[:_TIME], mark), (text[_TIME:], style))
