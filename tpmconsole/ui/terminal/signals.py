"""Handle the signals of a full-screen program: end, stop and continue.

The work is done in the event loop, where it interrupts nothing. The handlers themselves run between
two instructions of Python, so the program ends in time even if the event loop is stuck.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

EXIT_SECONDS = 1.8
"""After a signal, an app has this long to end; then the process ends at once."""

_ENDING = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


class LineSignals:
    """Calls back from the event loop when a signal arrives.

    Args:
        on_end: called with the exit code: 128 plus the number of the signal.
        on_overdue: called just before the process ends at once; must not wait for anything.
        on_resize: called when the terminal has another size.
        on_stop: called before the process stops (SIGTSTP), to restore the terminal.
        on_continue: called when it continues.
    """

    def __init__(
        self,
        *,
        on_end: Callable[[int], None],
        on_overdue: Callable[[], None],
        on_resize: Callable[[], None],
        on_stop: Callable[[], None],
        on_continue: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_end = on_end
        self._on_overdue = on_overdue
        self._on_stop = on_stop
        self._in_loop = {signal.SIGWINCH: on_resize, signal.SIGCONT: on_continue}
        self._before: dict[signal.Signals, Any] = {}
        self._code: int | None = None
        self._in_front = False

    def watch(self) -> None:
        """Start to listen; this program has the terminal."""
        self._in_front = True
        for number in _ENDING:
            self._handle(number, self._signalled)
        for number in self._in_loop:
            self._handle(number, self._changed)
        self._handle(signal.SIGTSTP, self._tstp)

    def lend(self) -> None:
        """Ignore interrupts while another program has the terminal: they are meant for it."""
        self._in_front = False
        # Use a handler: the programs that we start would inherit an ignored signal.
        signal.signal(signal.SIGINT, lambda _number, _frame: None)

    def unwatch(self) -> None:
        """Stop listening; a deadline that is running stays in force."""
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, before or signal.SIG_DFL)

    def end(self, number: signal.Signals) -> None:
        """End the app because of a signal or an equivalent event; only the first call counts."""
        if self._code is not None:
            return
        self._code = 128 + number
        signal.signal(signal.SIGALRM, self._overdue)
        signal.setitimer(signal.ITIMER_REAL, EXIT_SECONDS)
        self._loop.call_soon_threadsafe(self._on_end, self._code)

    def _handle(
        self, number: signal.Signals, handler: Callable[[int, FrameType | None], None]
    ) -> None:
        before = signal.signal(number, handler)
        self._before.setdefault(number, before)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self.end(signal.Signals(number))

    def _changed(self, number: int, _frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._in_loop[signal.Signals(number)])

    def _overdue(self, _number: int, _frame: FrameType | None) -> None:
        self._on_overdue()
        os._exit(self._code or 0)

    def _tstp(self, _number: int, _frame: FrameType | None) -> None:
        # While another program has the terminal, the event loop may be waiting for that program.
        if self._in_front:
            self._loop.call_soon_threadsafe(self._stop)
        else:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _stop(self) -> None:
        self._on_stop()
        os.kill(os.getpid(), signal.SIGSTOP)
