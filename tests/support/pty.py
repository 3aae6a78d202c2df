"""A program on a pseudo-terminal, with a terminal emulator at the other end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyte

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DEADLINE_S = 10.0


class Pty:
    """Starts a command on a pseudo-terminal; reads its output only on request.

    Args:
        command: what to run.
        columns: the width; with 0 the line reports no size and queries get no answer.
        rows: the height.
        environment: changes to the environment; None removes a variable.
        answer: the size to answer cursor queries with, as (rows, columns); None: no answer.

    Attributes:
        output: everything that was read.
        screen: what the terminal shows.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        environment: dict[str, str | None] | None = None,
        answer: tuple[int, int] | None = None,
    ) -> None:
        self.screen = pyte.Screen(columns or 80, rows or 24)
        self._stream = pyte.ByteStream(self.screen)
        self.output = b""
        self._answer = answer
        self._status: int | None = None
        # Our own descriptor of the slave side: settings can be read after the program has ended.
        self.fd, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if self.pid == 0:
            _run(command, self.fd, self.slave, environment or {})

    def send(self, data: bytes) -> None:
        """Type."""
        os.write(self.fd, data)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size as a terminal window does."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def pump(self, seconds: float) -> bytes:
        """Read what has arrived, waiting for it at most this long."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return b""
        self.output += data
        self._stream.feed(data)
        if self._answer and b"\x1b[6n" in data:
            self.send(b"\x1b[%d;%dR" % self._answer)
        return data

    def until(self, condition: Callable[[], Any] | str, seconds: float = DEADLINE_S) -> None:
        """Read until a condition holds, or a text is on the screen."""
        holds = (lambda: condition in self.text) if isinstance(condition, str) else condition
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"{condition!r} never came:\n{self.text}")
            self.pump(0.02)

    def settle(self, quiet: float = 0.13) -> bytes:
        """Read until nothing comes for a while; return what came."""
        parts = []
        while data := self.pump(quiet):
            parts.append(data)
        return b"".join(parts)

    def step(self, data: bytes, condition: Callable[[], Any] | str | None = None) -> bytes:
        """Type, read until a condition holds and the line is quiet; return what came."""
        start = len(self.output)
        self.send(data)
        if condition is not None:
            self.until(condition)
        self.settle()
        return self.output[start:]

    def ended(self) -> bool:
        """Whether the program has ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is not None

    def wait(self, seconds: float = DEADLINE_S) -> int:
        """Read until the program ends; return its exit code, negative for a signal."""
        self.until(self.ended, seconds)
        self.settle(0.01)
        assert self._status is not None
        return self._status

    def wait_unread(self, seconds: float = DEADLINE_S) -> int:
        """The same, for a terminal that is no longer read."""
        end = time.monotonic() + seconds
        while not self.ended():
            assert time.monotonic() < end, "the program did not end"
            time.sleep(0.01)
        assert self._status is not None
        return self._status

    def hang_up(self) -> None:
        """Close the terminal, as if its cable were unplugged."""
        os.close(self.slave)
        os.close(self.fd)
        self.fd = self.slave = -1

    def cpu_seconds(self) -> float:
        """The processor time the program has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settings(self) -> list[Any]:
        """The terminal's settings now."""
        return termios.tcgetattr(self.slave)

    @property
    def text(self) -> str:
        """The rows of the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def close(self) -> None:
        """Kill the program if it still runs."""
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self._status = os.waitstatus_to_exitcode(status)
        for descriptor in (self.fd, self.slave):
            if descriptor >= 0:
                os.close(descriptor)
        self.fd = self.slave = -1


def _run(
    command: Sequence[str], master: int, slave: int, changes: dict[str, str | None]
) -> None:  # pragma: no cover  (the child)
    os.close(master)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for descriptor in (0, 1, 2):
        os.dup2(slave, descriptor)
    os.close(slave)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("COLORTERM", "TERM_PROGRAM", "COLUMNS", "LINES", "NO_COLOR", "LC_ALL")
    }
    environment |= {"TERM": "vt220", "LANG": "C.UTF-8", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    for name, value in changes.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    os.execve(command[0], list(command), environment)  # noqa: S606 (that is what it is for)


@contextlib.contextmanager
def sample(*arguments: str, ready: str | None = "ready", **options: Any) -> Iterator[Pty]:
    """The sample app on a pseudo-terminal, painted."""
    terminal = Pty([sys.executable, str(HERE / "sample.py"), *arguments], **options)
    try:
        if ready:
            terminal.until(ready)
            terminal.settle()
        yield terminal
    finally:
        terminal.close()
