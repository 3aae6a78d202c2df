"""Signals of a full-screen program: ending, stopping and going on, all in the event loop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from types import FrameType

ENDING = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


class LineSignals:
    """Calls back from the event loop, where nothing is half done, when a signal comes.

    Args:
        on_end: called with SIGHUP, SIGTERM or SIGINT.
        on_resize: called when the terminal has another size.
        on_stop: called before the process stops (SIGTSTP), to give the terminal back.
        on_continue: called when it goes on.
    """

    def __init__(
        self,
        *,
        on_end: Callable[[signal.Signals], None],
        on_resize: Callable[[], None],
        on_stop: Callable[[], None],
        on_continue: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_end = on_end
        self._on_resize = on_resize
        self._on_stop = on_stop
        self._on_continue = on_continue
        self._in_front = False

    def watch(self) -> None:
        """Begin to listen; the terminal is ours."""
        self._in_front = True
        for number in ENDING:
            self._loop.add_signal_handler(number, self._on_end, number)
        self._loop.add_signal_handler(signal.SIGWINCH, self._on_resize)
        self._loop.add_signal_handler(signal.SIGCONT, self._on_continue)
        signal.signal(signal.SIGTSTP, self._tstp)

    def lend(self) -> None:
        """The terminal is somebody else's for a while: an interrupt is meant for them."""
        self._in_front = False
        self._loop.remove_signal_handler(signal.SIGINT)

    def unwatch(self) -> None:
        """Stop listening."""
        for number in (*ENDING, signal.SIGWINCH, signal.SIGCONT):
            self._loop.remove_signal_handler(number)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)

    def _tstp(self, _number: int, _frame: FrameType | None) -> None:
        # While another program has the terminal the loop may be waiting for just that program.
        if self._in_front:
            self._loop.call_soon_threadsafe(self._stop)
        else:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _stop(self) -> None:
        self._on_stop()
        os.kill(os.getpid(), signal.SIGSTOP)
