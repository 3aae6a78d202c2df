"""The screen that is shown while the terminal is too small for the console."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tpmconsole.system.terminal import LEAST, is_too_small
from tpmconsole.ui.console import console_of
from tpmconsole.ui.terminal.driver import repaint


class TooSmall(ModalScreen[None]):
    """Covers everything until the terminal is large enough; what it covers is kept."""

    def compose(self) -> ComposeResult:
        yield Static(Content(""))

    def on_resize(self) -> None:
        self.present()
        self.app.call_later(self.uncover)

    def on_screen_resume(self) -> None:
        """Check the size again: a dialog above this screen may have hidden a change."""
        self.app.call_later(self.uncover)

    def on_key(self, event: events.Key) -> None:
        if event.key == "ctrl+l":
            repaint(self.app)
        elif event.key in ("q", "ctrl+c"):
            event.stop()
            console_of(self).obey("q")

    def uncover(self) -> None:
        """Close if the terminal is large enough; a dialog above this screen must close first."""
        size = self.app.size
        if self.app.screen is self and not is_too_small(size.width, size.height):
            self.app.pop_screen()

    def present(self) -> None:
        """Show the size of the terminal and the size that the console needs."""
        size, (columns, lines) = self.app.size, LEAST
        kiosk = console_of(self).board.settings.kiosk
        leaves = "" if kiosk else ",\nor q to quit"
        self.query_one(Static).update(
            Content(
                f"The terminal has {size.width}x{size.height};\n"
                f"the console needs {columns}x{lines}.\n"
                f"Make it larger; press ^L\nif that size is wrong{leaves}."
            )
        )
