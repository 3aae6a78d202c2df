"""Recognize pastes from terminals that do not bracket them.

Such a paste arrives as plain keys, and each letter of a PEM block might be a command. But nobody
types many characters without a pause and with an end of line among them. A serial line delivers a
few characters at a time, so each is held for a moment to see what follows.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_PAUSE_IN_PASTE = 0.15
"""A paste may pause for this long, in seconds (flow control, a busy USB adapter)."""
_LINES_FROM = 8
"""More characters than this, with an end of line among them, are a paste."""
_WORDS_FROM = 32
"""So are more than this without an end of line, unless all are the same (a key held down)."""

_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Token(NamedTuple):
    """A unit of input from the line.

    Attributes:
        kind: ``char`` (a character or control character), ``alt`` (one typed with Alt),
            ``sequence`` (a whole control sequence), ``paste``.
        text: its characters.
    """

    kind: Literal["char", "alt", "sequence", "paste"]
    text: str


def clean_paste(text: str) -> str:
    """Convert the line ends of a paste to line feeds, and remove control characters."""
    return _NOT_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


class BurstGuard:
    """Turns bursts of characters into pastes.

    Args:
        hold: how long a character is held, in seconds; 0: only detect a burst within one read.
    """

    def __init__(self, hold: float) -> None:
        self._hold = hold
        self._held: list[str] = []

    @property
    def wait(self) -> float | None:
        """How long to wait for more input before `after_silence`, in seconds."""
        if not self._held:
            return None
        if self._is_paste():
            return _PAUSE_IN_PASTE
        return self._hold if len(self._held) == 1 else 3 * self._hold

    def after_read(self, tokens: list[Token]) -> list[Token]:
        """Return the tokens that are certain after one read."""
        passed: list[Token] = []
        for token in tokens:
            if token.kind == "char" and (token.text.isprintable() or self._goes_on(token.text)):
                self._held.append(token.text)
            else:
                passed += self._release()
                passed.append(token)
        if not self._hold and not self._is_paste():
            passed += self._release()
        return passed

    def after_silence(self, tokens: list[Token]) -> list[Token]:
        """Return what was held, then the tokens, as nothing else has arrived."""
        return [*self._release(), *tokens]

    def _goes_on(self, character: str) -> bool:
        return bool(self._held) and character in "\r\n\t"

    def _is_paste(self) -> bool:
        count = sum(character.isprintable() for character in self._held)
        if count < len(self._held) and not set(self._held).isdisjoint("\r\n"):
            return count > _LINES_FROM
        return count > _WORDS_FROM and len(set(self._held)) > 1

    def _release(self) -> list[Token]:
        held, paste = self._held, self._is_paste()
        self._held = []
        if paste:
            return [Token("paste", clean_paste("".join(held)))]
        return [Token("char", character) for character in held]
