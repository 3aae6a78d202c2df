"""Copying one of several texts into the clipboard of the user's terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError
from tpmconsole.ui.console import console_of
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.dialogs.menu import MenuDialog, Option
from tpmconsole.ui.terminal import clipboard

if TYPE_CHECKING:
    from textual.dom import DOMNode

_KEYS = "123456789"
SENT = "sent to your terminal's clipboard (OSC 52)"


def copy_one_of(node: DOMNode, copies: Sequence[Copy], say: Callable[[str], None]) -> None:
    """Copy the only text, or let the user choose one of several.

    Args:
        say: receives a short text that names what was copied.
    """

    def copy(one: Copy) -> None:
        try:
            clipboard.copy(node.app, one.text)
        except ConsoleError as error:
            console_of(node).show_error(error)
        else:
            say(f"{one.what}: {SENT}")

    if len(copies) == 1:
        copy(copies[0])
        return
    options = [
        Option(key, one.what, one.text.partition("\n")[0], clipboard.too_long(one.text))
        for key, one in zip(_KEYS, copies, strict=False)
    ]
    node.app.push_screen(
        MenuDialog("Copy", options), lambda key: copy(copies[_KEYS.index(key)]) if key else None
    )
