"""A menu: an option is chosen by its key, or with the cursor and Enter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.widgets.table import Column, Table

LABEL_WIDTH = 9


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a menu.

    Attributes:
        key: chooses it, and is the result of the dialog.
        label: a few words.
        text: what it means.
        problem: why it cannot be chosen now; empty if it can.
    """

    key: str
    label: str
    text: str = ""
    problem: str = ""


class MenuDialog(Dialog[str]):
    """Returns the key of the chosen option. An option with a problem shows it instead.

    Args:
        title: what to choose.
        options: at least one.
        about: a sentence above the options.
    """

    def __init__(self, title: str, options: Sequence[Option], about: str = "") -> None:
        super().__init__(title)
        self.options = options
        self.about = about

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("enter", "Choose"), ("escape", "Back"))

    def body(self) -> ComposeResult:
        if self.about:
            yield Static(Content(f"{self.about}\n"))
        longest = max(len(one.label) for one in self.options)
        table = Table(
            (Column("", 1), Column("", max(LABEL_WIDTH, longest)), Column("", 10)),
            state_column=-1,
            header=False,
        )
        table.styles.height = len(self.options)
        yield table
        yield Static("", classes="form-hint")

    def on_mount(self) -> None:
        table = self.query_one(Table)
        table.present(
            [
                (one.key, one.label, f"not now: {one.problem}" if one.problem else one.text)
                for one in self.options
            ]
        )
        table.focus()

    def on_table_moved(self, event: Table.Moved) -> None:
        """Show the text of the current row below the list if it does not fit into the row."""
        event.stop()
        table = self.query_one(Table)
        one = self.options[table.cursor_row]
        text = one.problem or one.text
        self._hint("" if table.fits(text) else text)

    def on_table_pressed(self, event: Table.Pressed) -> None:
        event.stop()
        self._choose(self.options[self.query_one(Table).cursor_row])

    def pressed(self, event: events.Key) -> None:
        for one in self.options:
            if one.key == event.key:
                event.stop()
                self._choose(one)

    def _choose(self, option: Option) -> None:
        if option.problem:
            self._hint(option.problem, "bold $error")
        else:
            self.dismiss(option.key)

    def _hint(self, text: str, style: str = "") -> None:
        self.query_one(".form-hint", Static).update(Content.styled(text, style))
