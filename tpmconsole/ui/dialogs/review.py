"""Facts to read before something is done, and the keys that do it."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.rows import Fact, Heading
from tpmconsole.ui.widgets.details import Details


class ReviewDialog(Dialog[str]):
    """Answers with the key that was pressed, or None for Escape.

    Args:
        title: what it is about.
        facts: what to read; scrolled where there is more than fits.
        answers: key and meaning.
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
