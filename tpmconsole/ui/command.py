"""Define a command as one object, which serves the key line, the help and key presses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

# The names of keys for people to read.
KEY_NAMES = {
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
    "question_mark": "?",
    "slash": "/",
    "space": "Space",
    "end": "End",
    "left": "Left",
    "right": "Right",
    "backspace": "BS",
}


@dataclass(frozen=True, slots=True)
class Command:
    """Something a key does.

    Attributes:
        key: Textual's name of the key.
        label: one or two words for the key line; empty if only the help shows it.
        help: a sentence for the help.
        run: performs it.
        allowed: whether it can be done now; the key line shows only commands that can.
        aliases: further keys, for keyboards that lack the first.
        kiosk: whether a visitor may do it too; by default not.
    """

    key: str
    label: str
    help: str
    run: Callable[[], None]
    allowed: Callable[[], bool] = lambda: True
    aliases: tuple[str, ...] = ()
    kiosk: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key, *self.aliases)


def key_name(key: str) -> str:
    """A key as a person reads it: ``F10``, ``Esc``, ``^L``, ``n``."""
    if key.startswith("ctrl+"):
        return "^" + key.removeprefix("ctrl+").upper()
    if len(key) > 1 and key[0] == "f" and key[1:].isdigit():
        return key.upper()
    return KEY_NAMES.get(key, key)


def find(commands: Iterable[Command], key: str) -> Command | None:
    """The command that ``key`` means now, if any."""
    for command in commands:
        if key in command.keys and command.allowed():
            return command
    return None
