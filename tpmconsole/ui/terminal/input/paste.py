"""Pastes from terminals that do not bracket them.

Such a paste comes as plain keys, and every letter of a PEM block might be somebody's command. But
no hand types like that: many characters without a pause, with an end of line among them. A serial
line delivers them a few at a time, so a character is held for a moment to see what follows it.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_PAUSE_IN_PASTE = 0.15
"""A paste goes on after a pause this long, in seconds (flow control, a busy USB adapter)."""
_LINES_FROM = 8
"""With an end of line among them, more characters than this were pasted."""
_WORDS_FROM = 32
"""Without one, more than this, unless all are the same (a key held down)."""

_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Token(NamedTuple):
    """One thing that came up the line.

    Attributes:
        kind: ``char`` (a character or control character), ``alt`` (one typed with Alt),
            ``sequence`` (a whole control sequence), ``paste``.
        text: what it is made of.
    """

    kind: Literal["char", "alt", "sequence", "paste"]
    text: str


def clean_paste(text: str) -> str:
    """A paste with line feeds for line ends and without control characters."""
    return _NOT_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


class BurstGuard:
    """Turns bursts of characters into pastes.

    Args:
        hold: how long a character is held, in seconds; 0: only a burst within one read counts.
    """

    def __init__(self, hold: float) -> None:
        self._hold = hold
        self._held: list[str] = []

    @property
    def wait(self) -> float | None:
        """How long to wait for more before `after_silence`, in seconds."""
        if not self._held:
            return None
        if self._is_paste():
            return _PAUSE_IN_PASTE
        return self._hold if len(self._held) == 1 else 3 * self._hold

    def after_read(self, tokens: list[Token]) -> list[Token]:
        """The tokens that are certain, after one read."""
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
        """What was held, and then the tokens, as nothing more came."""
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
