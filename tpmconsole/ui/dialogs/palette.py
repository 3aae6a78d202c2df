"""The command palette: finds every command of every page by words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from textual.app import App, ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tpmconsole.ui.command import Command, key_name
from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.pages.names import PAGES
from tpmconsole.ui.widgets.list_table import ListTable
from tpmconsole.ui.widgets.table import Column, Table

COLUMNS = (Column("KEY", 6), Column("PAGE", 10), Column("WHAT", 40))
ROWS = 11  # with the titles


class Found(NamedTuple):
    """A command and where it is.

    Attributes:
        page: the index of its page; None for a command of every page.
        where: the name of its page.
    """

    command: Command
    page: int | None
    where: str


class _Commands(ListTable[Found]):
    """Letters always go into the filter: Enter runs the command, Esc closes."""

    def end_typing(self) -> None:
        self.post_message(self.Pressed())

    def show_all(self) -> None:
        if self.view.words:
            self._narrow("")
        else:
            self.post_message(PaletteDialog.Closed())


class PaletteDialog(Dialog[Found]):
    """Returns the command that was chosen.

    Args:
        commands: the commands that can be found.
    """

    help_key = "f1"

    class Closed(Message):
        """Esc was pressed without a word."""

    def __init__(self, commands: Sequence[Found]) -> None:
        super().__init__("Commands")
        self._commands = commands

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("letters", "find"), ("enter", "Do it"), ("escape", "Back"))

    def body(self) -> ComposeResult:
        table = _Commands(COLUMNS, -1, _row, _name)
        table.styles.height = ROWS
        yield table
        yield Static("", classes="form-hint")

    def on_mount(self) -> None:
        table = self.query_one(_Commands)
        table.focus()
        table.replace(self._commands)
        table.start_typing()

    def on_table_moved(self, event: Table.Moved) -> None:
        event.stop()
        self._present()

    def on_list_table_arranged(self, event: ListTable.Arranged) -> None:
        event.stop()
        self._present()

    def on_palette_dialog_closed(self, event: Closed) -> None:
        event.stop()
        self.dismiss(None)

    def on_table_pressed(self, event: Table.Pressed) -> None:
        event.stop()
        found = self.query_one(_Commands).item
        if found is not None:
            self.dismiss(found)

    def _present(self) -> None:
        """Show the words typed, and what the command under the cursor does if the row is cut."""
        table = self.query_one(_Commands)
        text = _row(table.item)[-1] if table.item is not None else ""
        whole = "" if table.fits(text) else f"\n{text}"
        self.query_one(".form-hint", Static).update(Content(f"{table.title()}{whole}"))


def _row(found: Found) -> tuple[str, ...]:
    command = found.command
    what = f"{command.label}: {command.help}" if command.label else command.help
    return key_name(command.key), found.where, what


def _name(found: Found) -> tuple[str, ...]:
    return found.where, found.command.key, found.command.help


class Main(Protocol):
    """The main screen, as far as the palette uses it."""

    def commands(self) -> Sequence[Command]:
        """The commands of every page."""

    def commands_of(self, index: int) -> Sequence[Command]:
        """The commands of a page that has been made."""

    async def make_page(self, index: int) -> bool:
        """Make a page that is not there yet; returns whether it is there."""

    async def open_page(self, index: int) -> None:
        """Bring a page to the front."""

    def obey(self, key: str) -> bool:
        """Do what a key means now; returns whether it means anything."""

    def say(self, message: str) -> None:
        """Put a message into the status line."""

    def call_later(self, callback: Callable[..., Any], *args: Any) -> bool:
        """Call it after the messages that are waiting."""


async def open_palette(app: App[Any], main: Main) -> None:
    """Offer the commands of all pages, and do the one that is chosen, on its page."""
    found = [Found(command, None, "") for command in main.commands()]
    for index, page in enumerate(PAGES):
        # A page must have been made to know its commands.
        if await main.make_page(index):
            found += [Found(one, index, page.title) for one in main.commands_of(index)]

    async def do(page: int | None, key: str) -> None:
        if page is not None:
            await main.open_page(page)
        if not main.obey(key):
            main.say(f"not possible now; its key on this page is {key_name(key)}")

    def go(chosen: Found | None) -> None:
        if chosen is not None:
            main.call_later(do, chosen.page, chosen.command.key)

    unique = {_name(one): one for one in found}
    app.push_screen(PaletteDialog(list(unique.values())), go)
