"""Timing and printing that every benchmark shares."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

PATIENCE_S = 30.0


def medians(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each way, measured in turns so that a noisy machine is noisy for all.

    Args:
        ways: by name, something that takes one measurement and returns it.
        rounds: how many measurements each.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way())
    return {name: statistics.median(values) for name, values in taken.items()}


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def print_row(name: str, value: str, aim: str = "") -> None:
    """One line of the table."""
    print(f"  {name:<52} {value:>14}  {aim}".rstrip(), flush=True)


def print_heading(text: str) -> None:
    """The title of a table."""
    print(f"\n{text}", flush=True)


def verdict(value: float, most: float) -> str:
    """Describe whether the aim is reached."""
    return f"aim: at most {most:g}: {'reached' if value <= most else 'MISSED'}"


class Terminal:
    """A program in a pseudo-terminal of 80x24, and when which text came out of it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.start = time.perf_counter()
        self._pid, self._descriptor = pty.fork()
        if self._pid == 0:
            os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - no shell needed
        # A line of unknown size would first be asked for it, for half a second.
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._seen = b""

    def when(self, *texts: bytes) -> float:
        """Seconds from the start until one of the texts was written.

        Raises:
            TimeoutError: none came.
        """
        while not any(text in self._seen for text in texts):
            if time.perf_counter() - self.start > PATIENCE_S:
                raise TimeoutError(f"never: {texts}")
            ready, _, _ = select.select([self._descriptor], [], [], 0.1)
            if ready:
                self._seen += os.read(self._descriptor, 65536)
        return time.perf_counter() - self.start

    def close(self) -> None:
        """End the program."""
        os.kill(self._pid, signal.SIGTERM)
        while True:
            try:
                if not os.read(self._descriptor, 65536):
                    break
            except OSError:
                break
        os.waitpid(self._pid, 0)
        os.close(self._descriptor)


def quiet(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a command and throw its output away.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    subprocess.run(
        command, env=dict(environment), stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE_S
    )
