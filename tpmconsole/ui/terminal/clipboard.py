"""The clipboard of the terminal at the other end of the line (OSC 52).

It reaches the technician's own computer through a serial line and through SSH. Nobody answers: a
terminal that does not know it, or whose user has switched it off, ignores it.
"""

from __future__ import annotations

from typing import Any

from textual.app import App

from tpmconsole.errors import usage_error

LONGEST = 8192
"""What terminals take at once, in characters; also less than a second of a serial line."""


def copy(app: App[Any], text: str) -> None:
    """Put text into the terminal's clipboard.

    Raises:
        ConsoleError: it is longer than terminals take.
    """
    problem = too_long(text)
    if problem:
        raise usage_error("Not copied", problem, "write it to a file")
    # Textual writes the sequence; `output.is_direct` lets it pass, alone among all sequences.
    app.copy_to_clipboard(text)


def too_long(text: str) -> str:
    """Why a terminal would not take it; empty where it would."""
    if len(text) <= LONGEST:
        return ""
    return f"it has {len(text)} characters; terminals take {LONGEST} at once"
