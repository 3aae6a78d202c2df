"""Opening the help: of a page, or of a dialog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tpmconsole.ui.console import console_of
from tpmconsole.ui.rows import Fact, Heading

if TYPE_CHECKING:
    from textual.dom import DOMNode


def open_help(node: DOMNode, facts: Sequence[Fact | Heading]) -> None:
    """Show the keys; from there, the manual, which a kiosk does not offer."""
    from tpmconsole.ui.dialogs.manual import HelpDialog
    from tpmconsole.ui.dialogs.message import TextDialog

    kiosk = console_of(node).board.settings.kiosk
    dialog = TextDialog("Help", "", facts) if kiosk else HelpDialog("Help", "", facts)
    dialog.has_help = False
    node.app.push_screen(dialog)
