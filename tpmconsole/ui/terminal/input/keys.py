"""Turn tokens from the line into Textual's events.

Textual's own tables map sequences to keys. A sequence that they do not contain is an answer from
the terminal, or noise: it is dropped, whereas Textual's parser would type its characters.
"""

from __future__ import annotations

from collections.abc import Iterator

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.keys import Keys
from textual.message import Message

from tpmconsole.ui.terminal.input.paste import Token

_ALIASES = {
    "\x1b[28~": "\x1bOP",  # the Help key of a VT220, which has no F1 to F5
    # rxvt's keys with Ctrl: Textual's table confuses three of them with other keys.
    "\x1b[7^": "\x1b[1;5H",
    "\x1b[8^": "\x1b[1;5F",
    "\x1bOb": "\x1b[1;5B",
}


class KeyTranslator:
    """Turns tokens into events.

    Args:
        mouse: whether to translate mouse reports.
    """

    def __init__(self, *, mouse: bool) -> None:
        self._mouse = mouse
        self._parser = XTermParser()

    def translate(self, token: Token) -> Iterator[Message]:
        """Yield the events for a token; there are none if it is not a key."""
        if token.kind == "paste":
            yield events.Paste(token.text)
        elif token.kind == "sequence":
            yield from self._sequence(_ALIASES.get(token.text, token.text))
        elif token.kind == "alt":
            yield from self._alt(token.text)
        else:
            yield from self._keys(token.text)

    def _sequence(self, sequence: str) -> Iterator[Message]:
        known = ANSI_SEQUENCES_KEYS.get(sequence)
        if isinstance(known, tuple) and len(known) == 2 and known[0] == Keys.Escape:
            # A key with Alt. Textual makes two keys of it, and the Escape would close a dialog.
            yield events.Key(f"alt+{known[1].value}", None)
        elif known is not None:
            yield from self._keys(sequence)
        elif self._mouse and sequence.startswith("\x1b[<"):
            event = self._parser.parse_mouse_code(sequence)
            if event is not None:
                yield event

    def _alt(self, character: str) -> Iterator[Message]:
        # Textual maps some of them to letters of a Mac keyboard (as strings); these stay Alt here.
        if isinstance(ANSI_SEQUENCES_KEYS.get("\x1b" + character), tuple):
            yield from self._keys("\x1b" + character)
            return
        for event in self._keys(character):
            # Without a character: a key pressed with Alt is a command and types nothing.
            yield events.Key(f"alt+{event.key}", None)

    def _keys(self, sequence: str) -> Iterator[events.Key]:
        for event in self._parser._sequence_to_key_events(sequence):
            if event.key != Keys.Ignore:
                yield event
