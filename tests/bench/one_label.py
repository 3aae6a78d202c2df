"""The least that a Textual program can be, to compare the console's start with."""

from textual.app import App, ComposeResult
from textual.widgets import Label


class OneLabel(App[None]):
    def compose(self) -> ComposeResult:
        yield Label("one-label")


OneLabel().run(mouse=False)
