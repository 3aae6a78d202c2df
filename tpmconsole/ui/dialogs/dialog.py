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
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.rows import Fact, Heading
from tpmconsole.ui.widgets.list_table import ListTable

Result = TypeVar("Result")

HEADING = 66
KEY_LINE = 68
GAP = "   "


class Dialog(ModalScreen[Result], Generic[Result]):
    """A modal dialog over the page.

    Args:
        title: shown on the upper border.

    Attributes:
        has_help: whether ``?`` and F1 explain it; not the help itself.
        help_key: the key for that which the key line names: F1 where ``?`` may be text.
        takes_text: whether every character is text, also without a field.
    """

    has_help = True
    help_key = "question_mark"
    takes_text = False

    def __init__(self, title: str) -> None:
        super().__init__()
        self.heading = title
        self._said = ""

    def keys(self) -> tuple[tuple[str, str], ...]:
        """The keys and their meanings, for the line at the bottom."""
        return (("escape", "Back"),)

    def copies(self) -> Sequence[Copy]:
        """The texts that ``y`` copies; empty if ``y`` is an answer."""
        return ()

    def help_facts(self) -> list[Fact | Heading]:
        """What the help says of the dialog: its keys."""
        facts: list[Fact | Heading] = [Heading(self.heading)]
        facts += [Fact(key_name(key), "", meaning) for key, meaning in self.keys()]
        if self.copies():
            facts.append(Fact("y", "", "copy it to your terminal's clipboard"))
        commands = self._of_list()
        if commands:
            facts.append(Heading("In the list"))
            names = ((" ".join(map(key_name, one.keys)), one.help) for one in commands)
            facts += [Fact(keys, "", text) for keys, text in names]
        return facts

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
        self._say("")

    def _say(self, text: str) -> None:
        """Show a message instead of the keys, until the next key is pressed."""
        self._said = text
        content = Content(text) if text else self._key_line()
        self.query_one(".dialog-keys", Static).update(content)

    def _key_line(self) -> Content:
        keys = list(self.keys())
        more_keys = [("y", "Copy")] if self.copies() else []
        more_keys += [(self.help_key, "Help")] if self.has_help else []
        for more in more_keys:
            if sum(_width(key) for key in (*keys, more)) <= self.key_line_width:
                keys.insert(len(keys) - 1, more)
        parts: list[tuple[str, str]] = []
        for key, meaning in keys:
            parts += [(f"{key_name(key)}", "bold $accent"), (f" {meaning}{GAP}", "")]
        return Content.assemble(*parts)

    @property
    def key_line_width(self) -> int:
        """The cells for the keys."""
        return KEY_LINE

    def open_help(self) -> None:
        """Show what the dialog and its keys do."""
        console_of(self).open_help(self.help_facts())

    async def on_key(self, event: events.Key) -> None:
        if self._said:
            self.show_key_line()
        command = find(self._of_list(), event.key)
        if command is not None:
            event.stop()
            command.run()
        elif self.has_help and (
            event.key == "f1" or (event.key == "question_mark" and not self.takes_text)
        ):
            event.stop()
            self.open_help()
        elif event.key == "y" and (copies := self.copies()):
            event.stop()
            console_of(self).copy(copies, self._say)
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


def _width(key: tuple[str, str]) -> int:
    return len(key_name(key[0])) + 1 + len(key[1]) + len(GAP)
