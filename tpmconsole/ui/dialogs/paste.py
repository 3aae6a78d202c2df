"""A dialog that accepts a pasted PEM, however the terminal delivers it."""

from __future__ import annotations

import re
import time

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tpmconsole.board.phrases import size_words
from tpmconsole.ui.dialogs.dialog import Dialog

LONGEST = 1 << 20
_QUIET_S = 1.0
_COMPLETE = re.compile(r"-----END [A-Z0-9 #]+-----\s*\Z")


class PasteDialog(Dialog[bytes]):
    """Collects what is pasted until it is complete and the user confirms it.

    A paste arrives as one event, as several (a slow line pauses), or as single keys (a terminal
    program that sends line by line); all of it is collected. So Enter is a line end while text is
    arriving, and means "done" only in a pause after the last line. Ctrl-D always means "done".

    Args:
        title: says which certificate to paste.
    """

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._text = ""
        self._last = 0.0

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("ctrl+d", "Done"), ("ctrl+u", "Start again"), ("escape", "Cancel"))

    def body(self) -> ComposeResult:
        yield Static(
            Content(
                "Paste it now: every line from BEGIN to END, the chain too.\n"
                "Then press Ctrl-D, or Enter when the paste has ended.\n"
            )
        )
        yield Static(Content("nothing received yet"), classes="paste-state")
        yield Static("")

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self._take(event.text)

    def pressed(self, event: events.Key) -> None:
        event.stop()
        if event.key == "ctrl+d":
            self._done()
        elif event.key == "ctrl+u":
            self._text = ""
            self._present()
        elif event.key in ("enter", "ctrl+j"):
            quiet = time.monotonic() - self._last > _QUIET_S
            if quiet and _COMPLETE.search(self._text):
                self._done()
            else:
                self._take("\n")
        elif event.character is not None and event.is_printable:
            self._take(event.character)

    def _take(self, text: str) -> None:
        self._last = time.monotonic()
        self._text = (self._text + text)[:LONGEST]
        if "\n" in text or len(text) > 1:  # not for every letter: each update sends bytes
            self._present()

    def _done(self) -> None:
        if self._text.strip():
            self.dismiss(self._text.encode())
        else:
            self._say("nothing received yet: paste first", "bold $error")

    def _present(self) -> None:
        ends = self._text.count("-----END ")
        lines = len(self._text.splitlines())
        state = f"{ends} complete block{'' if ends == 1 else 's'}, " if ends else ""
        self._say(f"{state}{lines} line{'' if lines == 1 else 's'}, {size_words(len(self._text))}")

    def _say(self, text: str, style: str = "") -> None:
        self.query_one(".paste-state", Static).update(Content.styled(text, style))
