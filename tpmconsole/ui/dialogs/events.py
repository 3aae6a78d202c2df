"""A dialog with the events of a session, to scroll, follow and filter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import ComposeResult
from textual.content import Content

from tpmconsole.errors import ConsoleError
from tpmconsole.ui.background import Job
from tpmconsole.ui.console import console_of
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.dialogs.message import TextDialog
from tpmconsole.ui.pages.sessions.details import event_facts, event_row
from tpmconsole.ui.widgets.event_list import EventList

if TYPE_CHECKING:
    from tpmconsole.session.events import EventReader

POLL_S = 1.0
# Many events are shown less often: besides everything else, a slow line can carry two rows a second
# or a whole list every few seconds.
ROWS_A_POLL = 2
LONGEST_REST = 4


class EventsDialog(Dialog[None]):
    """The events of a session.

    Args:
        session: the id of the session.
        reader: reads them, in a thread; closed with the dialog.
        found: the events that it has read so far.
    """

    def __init__(self, session: str, reader: EventReader, found: Iterable[dict[str, Any]]) -> None:
        super().__init__(f"Events of {session}")
        self.add_class("wide")
        self._reader = reader
        self._found = list(found)
        self._reading = False
        self._rest = 0

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (
            ("f", "Kind"),
            ("slash", "Search"),
            ("e", "Last error"),
            ("end", "Follow"),
            ("enter", "Details"),
            ("escape", "Close"),
        )

    @property
    def key_line_width(self) -> int:
        return self.app.size.width - 4

    def copies(self) -> Sequence[Copy]:
        chosen = self._list.item if self.is_mounted else None
        return (Copy("event", json.dumps(chosen)),) if chosen is not None else ()

    def body(self) -> ComposeResult:
        yield EventList(event_row)

    def on_mount(self) -> None:
        self._list.focus()
        self._list.append(self._found)
        self._found.clear()
        self._show_place()
        self.set_interval(POLL_S, self._poll)

    def on_unmount(self) -> None:
        if not self._reading:
            self._reader.close()

    @property
    def _list(self) -> EventList:
        return self.query_one(EventList)

    def on_table_moved(self) -> None:
        self._show_place()

    def on_table_pressed(self) -> None:
        self._details()

    def on_list_table_arranged(self) -> None:
        self._show_place()

    def pressed(self, event: events.Key) -> None:
        actions = {
            "f": self._list.next_filter,
            "e": self._last_error,
        }
        if event.key in actions:
            event.stop()
            actions[event.key]()

    def _last_error(self) -> None:
        if not self._list.to_last_error():
            self._say("no error so far")  # new events change the border, and would hide it there

    def _details(self) -> None:
        chosen = self._list.item
        if chosen is not None:
            title = f"{chosen.get('event')} at {str(chosen.get('time'))[11:19]}"
            self.app.push_screen(TextDialog(title, "", event_facts(chosen), state_width=0))

    def _show_place(self) -> None:
        shown = self._list
        follows = ", following" if shown.following else ""
        title = shown.title(shown.filter.name)
        self.query_one(".dialog").border_subtitle = Content(f"{title}{follows}")

    # New events

    def _poll(self) -> None:
        """Read new events, but only while the dialog is the current screen."""
        if self._reading or self.app.screen is not self:
            return
        if self._rest:
            self._rest -= 1
            return
        self._reading = True
        console_of(self).start_job(
            Job("", lambda: list(self._reader.read()), self._read, self._not_read)
        )

    def _read(self, found: list[dict[str, Any]]) -> None:
        self._reading = False
        if self.is_mounted and self.is_attached:
            self._rest = min(LONGEST_REST, self._list.append(found) // ROWS_A_POLL)
        else:
            self._reader.close()

    def _not_read(self, error: ConsoleError) -> None:
        self._reading = False
        if self.is_attached:
            self.query_one(".dialog").border_subtitle = Content(str(error))
