"""Write to a terminal without ever waiting for it, and know how much is still unsent."""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import struct
import termios
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple


class Pace(NamedTuple):
    """How much to send at a time.

    Attributes:
        slice: about how many bytes to hand over at once.
        low: hand over more when no more bytes than this are waiting in the kernel.
        rate: bytes a second that the line carries; None if unknown.
    """

    slice: int
    low: int
    rate: float | None

    @classmethod
    def of(cls, baud: int | None) -> Pace:
        """Return the pace for a line: a tenth of a second at a time (8N1: ten bits a byte)."""
        if baud is None:
            return cls(16384, 256, None)
        part = max(256, baud // 100)
        return cls(part, part // 4, baud / 10)

    def seconds(self, waiting: int) -> float:
        """Estimate how many seconds it takes until ``waiting`` bytes are down to `low`."""
        if self.rate is None:
            return 0.01
        return min(max((waiting - self.low) / self.rate, 0.005), 0.5)


class Outlet:
    """Writes to a terminal from a thread of its own, one piece at a time.

    The descriptor is left unchanged: making it non-blocking would also affect the shell, which
    shares it. Bytes are handed over only when the kernel has accepted the last ones, so only the
    newest frame ever waits.

    Args:
        descriptor: the terminal.
        on_ready: called in the event loop when `busy` ends.
        on_failure: called in the event loop when the terminal is gone.
    """

    def __init__(
        self,
        descriptor: int,
        loop: asyncio.AbstractEventLoop,
        *,
        on_ready: Callable[[], None],
        on_failure: Callable[[], None],
    ) -> None:
        self._descriptor = descriptor
        self._loop = loop
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._unwritten = 0
        self._changed = threading.Condition()
        self._failed = False
        # A daemon thread: a line that hangs must not stop the program from ending.
        threading.Thread(target=self._run, name="line-output", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether the kernel has not accepted all bytes yet."""
        return self._unwritten > 0

    def waiting(self) -> int:
        """The number of bytes that the kernel holds for the line (0 if unknown, as for a pty)."""
        try:
            answer = fcntl.ioctl(self._descriptor, termios.TIOCOUTQ, b"\0" * 4)
        except OSError:
            return 0
        return int(struct.unpack("i", answer)[0])

    def send(self, data: bytes) -> None:
        """Hand bytes over to the thread. After a failure, do nothing."""
        if self._failed or not data:
            return
        with self._changed:
            self._unwritten += 1
        self._pieces.put(data)

    def drain(self, seconds: float) -> bool:
        """Wait until the kernel has everything; return False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._unwritten, seconds)

    def send_last(self, data: bytes, seconds: float) -> None:
        """Hand bytes over and give the thread a moment, without taking the lock.

        For signal handlers: the interrupted code may hold the lock. The process ends after this.
        """
        self.discard()
        self._pieces.put(data)
        time.sleep(seconds)

    def discard(self) -> None:
        """Drop what waits in the kernel, for a line that is blocked."""
        try:
            termios.tcflush(self._descriptor, termios.TCOFLUSH)
        except termios.error:
            return

    def close(self) -> None:
        """End the thread after it has written everything that was handed over."""
        self._pieces.put(None)

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            try:
                if not self._failed:
                    self._write(piece)
            except OSError:
                self._failed = True
                self._tell(self._on_failure)
            finally:
                with self._changed:
                    self._unwritten -= 1
                    self._changed.notify_all()
            self._tell(self._on_ready)

    def _write(self, piece: bytes) -> None:
        while piece:
            try:
                piece = piece[os.write(self._descriptor, piece) :]
            except BlockingIOError:
                # Another program that shares the terminal made it non-blocking.
                select.select([], [self._descriptor], [])

    def _tell(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the event loop has ended: there is nothing left to notify
            return
