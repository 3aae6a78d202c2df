"""Dialogs that show a message or ask for confirmation."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tpmconsole.errors import ConsoleError
from tpmconsole.text import harmless
from tpmconsole.ui.console import console_of
from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.rows import STATE_WIDTH, Fact, Heading, lay_out
from tpmconsole.ui.widgets.details import Details

LONGEST = 2000
# The width of a dialog and the most rows of its text, as in app.tcss.
FRAME, TALLEST = 72, 18


class ErrorDialog(Dialog[None]):
    """Shows an error: its title, cause and remedy."""

    def __init__(self, error: ConsoleError) -> None:
        super().__init__(error.title)
        self.error = error

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("enter", "Close"),)

    def body(self) -> ComposeResult:
        yield Static(
            Content.assemble(("Cause  ", "bold $error"), harmless(self.error.cause, LONGEST))
        )
        yield Static("")
        yield Static(
            Content.assemble(
                ("Try    ", "bold $success"), harmless(say(self.error.remedy), LONGEST)
            )
        )
        yield Static("")

    def pressed(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            self.dismiss(None)


class ConfirmDialog(Dialog[bool]):
    """Asks before something that cannot be undone; only ``y`` confirms it."""

    def __init__(self, title: str, loss: str, question: str) -> None:
        super().__init__(title)
        self.loss = loss
        self.question = question

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("y", "Yes"), ("n", "No"))

    def body(self) -> ComposeResult:
        yield Static(Content.styled(harmless(self.loss, LONGEST), "$warning"))
        yield Static("")
        yield Static(Content(harmless(self.question, LONGEST)))
        yield Static("")

    def pressed(self, event: events.Key) -> None:
        if event.key in ("y", "n"):
            event.stop()
            console_of(self).let_pass("es" if event.key == "y" else "o")
            self.dismiss(event.key == "y")


class TextDialog(Dialog[None]):
    """Shows facts and a longer text to scroll through, such as a PEM or the help."""

    def __init__(
        self,
        title: str,
        text: str,
        facts: Sequence[Fact | Heading] = (),
        *,
        state_width: int = STATE_WIDTH,
    ) -> None:
        super().__init__(title)
        self.text = text
        self.facts = facts
        self.state_width = state_width

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("escape", "Close"), ("up/down", "Scroll"))

    def body(self) -> ComposeResult:
        with VerticalScroll(classes="dialog-text"):
            if self.facts:
                yield Details(self.facts, state_width=self.state_width, width=self._width())
            if self.text:
                yield Static(Content(harmless(self.text)))

    def _width(self) -> int:
        """The width for the facts: that of the dialog without frame and, if needed, scroll bar."""
        width = min(FRAME, self.app.size.width) - 4
        rows = lay_out(self.facts, width, self.state_width).plain.count("\n") + 1
        rows += self.text.count("\n") + 1 if self.text else 0
        return width - (rows > TALLEST)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def pressed(self, event: events.Key) -> None:
        if event.key in ("enter", "q"):
            event.stop()
            self.dismiss(None)


class ReviewDialog(Dialog[str]):
    """Returns the key that was pressed, or None for Escape.

    Args:
        title: what it is about.
        facts: what to read; scrolled if they do not fit.
        answers: the keys and their meanings.
    """

    def __init__(
        self, title: str, facts: Sequence[Fact | Heading], answers: Sequence[tuple[str, str]]
    ) -> None:
        super().__init__(title)
        self.facts = facts
        self.answers = tuple(answers)

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (*self.answers, ("escape", "Back"))

    def body(self) -> ComposeResult:
        with VerticalScroll(classes="dialog-text"):
            yield Details(self.facts)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def pressed(self, event: events.Key) -> None:
        if event.key in {key for key, _ in self.answers}:
            event.stop()
            self.dismiss(event.key)
