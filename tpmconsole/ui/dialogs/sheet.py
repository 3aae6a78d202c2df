"""Dialogs that fill the screen without a frame, so that a mouse can copy their text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tpmconsole.ui.copying import Copy
from tpmconsole.ui.dialogs.dialog import Dialog, Result


class Sheet(Dialog[Result], Generic[Result]):
    """A title, a body and a line with the keys, as wide as the screen."""

    @property
    def key_line_width(self) -> int:
        return self.app.size.width

    def compose(self) -> ComposeResult:
        with Vertical(classes="sheet"):
            yield Static(Content.styled(self.heading, "bold"), classes="sheet-title")
            yield from self.body()
            yield Static(self._key_line(), classes="dialog-keys")


class PemSheet(Sheet[None]):
    """Shows a PEM at the first column, so that nothing else is copied with it.

    Args:
        title: says what it is and which identity it belongs to.
        pem: the text.
        then: what to do with it.
    """

    def __init__(self, title: str, pem: str, then: str) -> None:
        super().__init__(title)
        self.pem = pem
        self.then = then

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("escape", "Close"), ("up/down", "Scroll"))

    def copies(self) -> Sequence[Copy]:
        return (Copy("PEM", self.pem),)

    def body(self) -> ComposeResult:
        yield Static(Content(f"{self.then}\n"))
        with VerticalScroll():
            yield Static(Content(self.pem))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def pressed(self, event: events.Key) -> None:
        if event.key in ("enter", "q"):
            event.stop()
            self.dismiss(None)
