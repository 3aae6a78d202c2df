"""The clipboard of the terminal at the other end of the line (OSC 52).

It reaches the technician's own computer through a serial line and through SSH. There is no reply: a
terminal that does not know the sequence, or has it switched off, ignores it.
"""

from __future__ import annotations

from typing import Any

from textual.app import App

from tpmconsole.errors import usage_error

LONGEST = 8192
"""The most that terminals accept at once, in characters; less than a second at 115200 baud."""


def copy(app: App[Any], text: str) -> None:
    """Put text into the terminal's clipboard.

    Raises:
        ConsoleError: the text is longer than terminals accept.
    """
    problem = too_long(text)
    if problem:
        raise usage_error("Text not copied", problem, "write it to a file")
    # Textual writes the sequence. It is the only one that `output.is_direct` lets through.
    app.copy_to_clipboard(text)


def too_long(text: str) -> str:
    """Say why a terminal would not accept the text; empty if it would."""
    if len(text) <= LONGEST:
        return ""
    return f"it has {len(text)} characters; terminals accept {LONGEST}"
