"""The frame that every dialog shares: a title, a body, and a line with its keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tpmconsole.text import short
from tpmconsole.ui.command import Command, find, key_name
from tpmconsole.ui.console import console_of
from tpmconsole.ui.widgets.list_table import ListTable

Result = TypeVar("Result")

HEADING = 66


class Dialog(ModalScreen[Result], Generic[Result]):
    """A modal dialog over the page.

    Args:
        title: shown on the upper border.
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self.heading = title

    def keys(self) -> tuple[tuple[str, str], ...]:
        """The keys and their meanings, for the line at the bottom."""
        return (("escape", "Back"),)

    def body(self) -> ComposeResult:
        """The widgets between the title and the keys."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as frame:
            frame.border_title = Content(short(self.heading, HEADING))
            yield from self.body()
            yield Static(self._key_line(), classes="dialog-keys")

    def show_key_line(self) -> None:
        """Show the keys again after their meanings have changed."""
        self.query_one(".dialog-keys", Static).update(self._key_line())

    def _key_line(self) -> Content:
        parts: list[tuple[str, str]] = []
        for key, meaning in self.keys():
            parts += [(f"{key_name(key)}", "bold $accent"), (f" {meaning}   ", "")]
        return Content.assemble(*parts)

    async def on_key(self, event: events.Key) -> None:
        command = find(self._of_list(), event.key)
        if command is not None:
            event.stop()
            command.run()
        elif event.key == "escape":
            event.stop()
            self.dismiss(None)
        elif event.key == "ctrl+c":  # as everywhere, it quits the console
            event.stop()
            console_of(self).obey(event.key)
        else:
            self.pressed(event)

    def _of_list(self) -> Sequence[Command]:
        """What the list in the dialog can do, if there is one."""
        return [command for table in self.query(ListTable) for command in table.commands()]

    def pressed(self, event: events.Key) -> None:
        """Handle a key that no widget in the dialog has handled."""
