"""A field for a password, which is neither shown nor copied."""

from __future__ import annotations

from textual.actions import SkipAction
from textual.widgets import Input


class Unseen(Input):
    """Shows stars and copies nothing: any program at the terminal can read its clipboard."""

    def __init__(self) -> None:
        super().__init__(password=True, compact=True, select_on_focus=False)
        self.cursor_blink = False

    def on_unmount(self) -> None:
        """Clear the field when the dialog closes, so that no reference to the text is left."""
        with self.prevent(Input.Changed):
            self.clear()

    def action_copy(self) -> None:
        """Do nothing here: a password is never copied. The key keeps its usual meaning."""
        raise SkipAction

    def action_cut(self) -> None:
        """Do nothing: a password is never copied."""
