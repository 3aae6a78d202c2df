"""A terminal at the other end of the board's serial line, no faster than 115200 baud."""

from __future__ import annotations

import itertools
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pyte

BYTES_PER_S = 11520  # 115200 baud: a byte is ten bits on the line
_SLICE_S = 0.02
PATIENCE_S = 240.0
_ESCAPES = re.compile(rb"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78])")


class Line:
    """Reads all the time, as fast as the line is; types what a test asks for.

    Args:
        connection: our end of the serial port.

    Attributes:
        output: everything that was read.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.output = b""
        self._connection = connection
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            began = time.monotonic()
            try:
                data = self._connection.recv(int(BYTES_PER_S * _SLICE_S))
            except OSError:
                return
            if not data:
                return
            with self._changed:
                self.output += data
                self._stream.feed(data)
                self._changed.notify_all()
            time.sleep(max(0.0, len(data) / BYTES_PER_S - (time.monotonic() - began)))

    @property
    def text(self) -> str:
        """The rows of the screen."""
        with self._changed:
            return "\n".join(line.rstrip() for line in self._screen.display)

    def send(self, data: bytes | str) -> None:
        """Type."""
        self._connection.sendall(data.encode() if isinstance(data, str) else data)

    def until(self, condition: Callable[[], Any] | str, seconds: float = PATIENCE_S) -> None:
        """Wait until a condition holds, or a text is on the screen.

        Raises:
            AssertionError: it did not in time; the message has the screen.
        """
        holds = (lambda: condition in self.text) if isinstance(condition, str) else condition
        deadline = time.monotonic() + seconds
        with self._changed:
            while not holds():
                left = deadline - time.monotonic()
                assert left > 0, f"{condition!r} never came:\n{self.text}"
                self._changed.wait(min(left, 0.5))

    def settle(self, quiet: float = 0.5) -> None:
        """Wait until nothing comes for a while."""
        with self._changed:
            while self._changed.wait(quiet):
                pass

    def press(self, keys: bytes | str, condition: Callable[[], Any] | str) -> None:
        """Type, and wait until a condition holds or a text is on the screen."""
        self.send(keys)
        self.until(condition)

    def shell(self, command: str, seconds: float = PATIENCE_S) -> tuple[int, str]:
        """Type a command at the shell's prompt; return its exit code and what it wrote."""
        number = next(self._numbers)
        start = len(self.output)
        # The typed line does not contain the marks, so its echo cannot be mistaken for the answer.
        self.send(f" echo 'begin'-{number}; {command}; echo 'end'-{number}-$?\r")
        end = re.compile(rf"begin-{number}\r\n(.*)end-{number}-(\d+)".encode(), re.DOTALL)
        self.until(lambda: end.search(self.output, start), seconds)
        found = end.search(self.output, start)
        assert found is not None
        return int(found[2]), _ESCAPES.sub(b"", found[1]).replace(b"\r", b"").decode()
