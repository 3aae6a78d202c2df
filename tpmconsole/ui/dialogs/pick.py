"""A dialog to pick one of many names: typing narrows the list."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.widgets.table import Column, Table

MOST_ROWS = 12


class PickDialog(Dialog[str]):
    """Returns the chosen name.

    Args:
        title: what to choose.
        names: at least one.
        chosen: the name under the cursor at the beginning.
        words: what is typed already; all words must be in a name.
    """

    def __init__(self, title: str, names: Sequence[str], chosen: str, words: str = "") -> None:
        super().__init__(title)
        self._names = names
        self._chosen = chosen
        self._words = words
        self._shown: list[str] = []

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("enter", "Choose"), ("backspace", "Widen"), ("escape", "Back"))

    def body(self) -> ComposeResult:
        yield Static("", classes="pick-filter")
        table = Table((Column("", 60),), state_column=-1, header=False)
        table.styles.height = min(len(self._names), MOST_ROWS)
        yield table
        yield Static("")

    def on_mount(self) -> None:
        self.query_one(Table).focus()
        self._present()

    def on_table_moved(self, event: Table.Moved) -> None:
        event.stop()

    def on_table_pressed(self, event: Table.Pressed) -> None:
        event.stop()
        row = self.query_one(Table).chosen
        if row is not None:
            self.dismiss(self._shown[row])

    def pressed(self, event: events.Key) -> None:
        if event.key in ("backspace", "ctrl+h"):
            event.stop()
            self._words = self._words[:-1]
        elif event.is_printable and event.character:
            event.stop()
            self._words += event.character
        else:
            return
        self._present()

    def _present(self) -> None:
        words = self._words.casefold().split()
        self._shown = [one for one in self._names if all(word in one.casefold() for word in words)]
        here = self._shown.index(self._chosen) if self._chosen in self._shown else 0
        self.query_one(Table).present([(one,) for one in self._shown], here)
        count = f"{len(self._shown)} of {len(self._names)}"
        text = f"/{self._words}_, {count}" if self._words else f"{count}; typing narrows the list"
        self.query_one(".pick-filter", Static).update(Content(text))
