"""A few ways to go on, of which one is chosen: by its key, or with the cursor and Enter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.widgets.table import Table

LABEL_WIDTH = 9


@dataclass(frozen=True, slots=True)
class Option:
    """One of the ways.

    Attributes:
        key: chooses it, and is the dialog's answer.
        label: a few words.
        text: what it means.
        problem: why it cannot be chosen now; empty where it can.
    """

    key: str
    label: str
    text: str = ""
    problem: str = ""


class MenuDialog(Dialog[str]):
    """Answers with the key of an option; those with a problem say so instead.

    Args:
        title: what is to be chosen.
        options: at least one.
        about: a sentence above them.
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
            (("", 1), ("", max(LABEL_WIDTH, longest)), ("", 10)), state_column=-1, header=False
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
        """What does not fit into its row stands below."""
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
