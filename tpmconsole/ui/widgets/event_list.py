"""A list of a session's events that grows at its end, a line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tpmconsole.text import short

Event = Mapping[str, Any]
KEPT = 5000
_TIME = 8


class Filter(NamedTuple):
    """Which events are shown."""

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
    """The events that the filter lets through; the cursor is a mark on one of them.

    While it follows, the cursor stays on the newest. Only the rows in sight are ever laid out.

    Args:
        row: an event as a line of text.
    """

    class Moved(Message):
        """The cursor, the filter or the number of events is another one."""

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
        """What is shown now."""
        return FILTERS[self._filter]

    @property
    def count(self) -> int:
        """How many events the filter lets through."""
        return len(self._shown)

    @property
    def chosen(self) -> Event | None:
        """The event under the cursor."""
        return self._shown[self.cursor] if self._shown else None

    def add(self, more: Iterable[Event]) -> int:
        """Append events; the oldest are forgotten where there are too many.

        Returns:
            how many of the new ones the filter lets through.
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
        """Show the next kind of events, the cursor on the same one if that is shown."""
        chosen = self.chosen
        self._filter = (self._filter + 1) % len(FILTERS)
        self._sift()
        self._move_to(None if self.following else chosen)

    def follow(self) -> None:
        """Go to the newest event, and with it."""
        self._move_to(None)

    def to_last_error(self) -> bool:
        """Put the cursor on the newest error, showing everything if need be; False without one."""
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
        """To an event that is shown, or else to the newest, which is then followed."""
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
        # The window moves only where the cursor would leave it: that scrolls, for few bytes.
        self._top = min(self._top, self.cursor, max(0, len(self._shown) - height))
        self._top = max(self._top, self.cursor - height + 1)
        rows = [
            self._line(index, width)
            for index in range(self._top, min(self._top + height, len(self._shown)))
        ]
        content = Content("\n").join(rows or [Content("nothing of this kind")])
        if content != self.content:
            self.update(content)

    def _line(self, index: int, width: int) -> Content:
        event = self._shown[index]
        text = short(self._row(event), width)
        style = "bold $error" if event.get("event") == "error" else ""
        mark = "reverse" if index == self.cursor else style
        return Content.assemble((text[:_TIME], mark), (text[_TIME:], style))
