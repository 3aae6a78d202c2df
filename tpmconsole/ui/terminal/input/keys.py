"""Tokens from the line as Textual's events.

Textual's own tables say which sequence is which key. A sequence they do not know is an answer of
the terminal, or noise: it is dropped, where Textual's parser would type its characters.
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
    "\x1b[28~": "\x1bOP",  # the key that says Help on a VT220, which has no F1 to F5
    # rxvt's keys with Ctrl, of which Textual's table confuses three with their counterparts.
    "\x1b[7^": "\x1b[1;5H",
    "\x1b[8^": "\x1b[1;5F",
    "\x1bOb": "\x1b[1;5B",
}


class KeyTranslator:
    """Makes events of tokens.

    Args:
        mouse: whether mouse reports are wanted.
    """

    def __init__(self, *, mouse: bool) -> None:
        self._mouse = mouse
        self._parser = XTermParser()

    def translate(self, token: Token) -> Iterator[Message]:
        """The events of a token: none for what is no key."""
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
            # With Alt; as the two keys that Textual makes of it, it would close a dialog.
            yield events.Key(f"alt+{known[1].value}", None)
        elif known is not None:
            yield from self._keys(sequence)
        elif self._mouse and sequence.startswith("\x1b[<"):
            event = self._parser.parse_mouse_code(sequence)
            if event is not None:
                yield event

    def _alt(self, character: str) -> Iterator[Message]:
        # Textual maps some to letters of a Mac's keyboard (as strings); those stay Alt here.
        if isinstance(ANSI_SEQUENCES_KEYS.get("\x1b" + character), tuple):
            yield from self._keys("\x1b" + character)
            return
        for event in self._keys(character):
            # No character: a key pressed with Alt is a command and types nothing.
            yield events.Key(f"alt+{event.key}", None)

    def _keys(self, sequence: str) -> Iterator[events.Key]:
        for event in self._parser._sequence_to_key_events(sequence):
            if event.key != Keys.Ignore:
                yield event
