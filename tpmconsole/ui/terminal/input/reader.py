"""Read the line in the event loop, not faster than the app handles the input."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.message import Message

from tpmconsole.ui.terminal.input.decoder import Delays, InputDecoder
from tpmconsole.ui.terminal.input.event_queue import InOrder
from tpmconsole.ui.terminal.input.keys import KeyTranslator
from tpmconsole.ui.terminal.input.paste import Token

_READ_BYTES = 1024


class LineReader:
    """Turns input from the line into events.

    Args:
        app: the app that receives the events.
        descriptor: the terminal.
        delays: how long to wait for the rest of incomplete input.
        mouse: whether to translate mouse reports.
        deliver: passes an event to the app.
        on_sequence: called first with each control sequence; True if it was an answer to a query.
        on_hangup: called when the line has hung up or reached its end.
    """

    def __init__(
        self,
        app: App[Any],
        descriptor: int,
        delays: Delays,
        *,
        mouse: bool,
        deliver: Callable[[Message], None],
        on_sequence: Callable[[str], bool],
        on_hangup: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._decoder = InputDecoder(delays)
        self._keys = KeyTranslator(mouse=mouse)
        self._events = InOrder(app, deliver=deliver, on_room=self._watch)
        self._on_sequence = on_sequence
        self._on_hangup = on_hangup
        self._timer: asyncio.TimerHandle | None = None
        self._open = False

    def start(self) -> None:
        """Start or resume reading."""
        self._open = True
        self._watch()

    def stop(self) -> None:
        """Stop reading, and discard incomplete input."""
        self._open = False
        self._loop.remove_reader(self._descriptor)
        self._wait(None)
        self._events.clear()

    def _watch(self) -> None:
        if not self._open:
            return
        try:
            self._loop.add_reader(self._descriptor, self._read)
        except PermissionError:  # a file or /dev/null: no input will ever arrive
            self._hang_up()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        self._hand_on(self._decoder.feed(data))
        if self._events.full:
            self._loop.remove_reader(self._descriptor)

    def _hang_up(self) -> None:
        self.stop()
        self._on_hangup()

    def _silence(self) -> None:
        """Decode what was held back, as nothing else has arrived in time."""
        self._hand_on(self._decoder.timeout())

    def _hand_on(self, tokens: list[Token]) -> None:
        self._wait(self._decoder.wait)
        for token in tokens:
            if token.kind == "sequence" and self._on_sequence(token.text):
                continue
            for event in self._keys.translate(token):
                self._events.put(event)

    def _wait(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self._silence)
