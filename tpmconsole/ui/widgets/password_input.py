"""A field for a password: what is typed is neither shown nor given away."""

from __future__ import annotations

from textual.actions import SkipAction
from textual.widgets import Input


class Unseen(Input):
    """Shows stars, and copies nothing: the clipboard is the terminal's, for all to read."""

    def __init__(self) -> None:
        super().__init__(password=True, compact=True, select_on_focus=False)
        self.cursor_blink = False

    def on_unmount(self) -> None:
        """The dialog has closed: nothing refers to what was typed any more."""
        with self.prevent(Input.Changed):
            self.clear()

    def action_copy(self) -> None:
        """Not a password; the key means what it means everywhere."""
        raise SkipAction

    def action_cut(self) -> None:
        """Not a password."""
