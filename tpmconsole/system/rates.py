"""Limits how often the same cause is logged, so that others cannot fill the disk at will.

Each cause has its own allowance, so that a noisy one takes nothing from the others.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tpmconsole.errors import ConsoleError

# Causes that are counted separately; any more share one allowance.
MOST_CAUSES = 64
LOG_BURST, LOG_RATE = 100.0, 1 / 30
_KEPT_OF_A_CAUSE = (500, 200, 100, 50, 20, 10, 5, 2, 1)
_NUMBERS = re.compile(rb"0x[0-9a-fA-F]+|[0-9]+")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and after that so many per second."""

    burst: float
    per_s: float


class _Allowance:
    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left = rate.burst
        self._filled = time.monotonic()
        self.skipped = 0

    def take(self) -> bool:
        now_s = time.monotonic()
        more = (now_s - self._filled) * self._rate.per_s
        self._left = min(self._rate.burst, self._left + more)
        self._filled = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Allowances:
    """How much more may be logged now for each cause; the rest is counted.

    Args:
        rate: the rate for each cause.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._of: dict[str, _Allowance] = {}

    def take(self, cause: str) -> bool:
        """Whether one more record of a cause may be logged."""
        return self._find(cause).take()

    def skip(self, cause: str) -> None:
        """Count a record of a cause that is not logged."""
        self._find(cause).skipped += 1

    def skipped(self, cause: str) -> int:
        """How many records of a cause were not logged since the last call."""
        allowance = self._find(cause)
        skipped, allowance.skipped = allowance.skipped, 0
        return skipped

    def _find(self, cause: str) -> _Allowance:
        if cause not in self._of and len(self._of) >= MOST_CAUSES:
            cause = ""
        return self._of.setdefault(cause, _Allowance(self._rate))


class QuietLog(logging.Filter):
    """Keeps others from making a log grow as fast as they like.

    Args:
        rate: the rate for each cause, which is a place in the program and the title of the error
            that it reports.
    """

    def __init__(self, rate: Rate | None = None) -> None:
        super().__init__()
        self._allowances = Allowances(rate or Rate(LOG_BURST, LOG_RATE))

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it; the next record of the same cause says how many were left out."""
        cause = _cause_of(record)
        if not self._allowances.take(cause):
            self._allowances.skip(cause)
            return False
        if skipped := self._allowances.skipped(cause):
            record.msg = f"{record.getMessage()} ({skipped} like this were left out before it)"
            record.args = ()
        return True


def _cause_of(record: logging.LogRecord) -> str:
    arguments = record.args if isinstance(record.args, tuple) else ()
    titles = [one.title for one in arguments if isinstance(one, ConsoleError)]
    return "\n".join([record.name, str(record.msg)[:200], *titles])


def thinned(lines: Sequence[bytes], limit: int, cause_in: Callable[[bytes], str | None]) -> bytes:
    """As many of the newest lines of each cause as fit, in their original order.

    Args:
        limit: in bytes.
        cause_in: gives the cause of a line; None for a line that is not kept.
    """
    of_cause: defaultdict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        if (cause := cause_in(line)) is not None:
            of_cause[cause].append(number)
    for most in _KEPT_OF_A_CAUSE:
        kept = sorted(number for numbers in of_cause.values() for number in numbers[-most:])
        if sum(len(lines[number]) for number in kept) <= limit:
            return b"".join(lines[number] for number in kept)
    return b""


def bound_log(descriptor: int, limit: int) -> None:
    """Thin out a log that has grown too long: of similar lines, the newest stay.

    What the TSS writes to standard error cannot be held back, and a child process may have the same
    file open, so the log is rewritten in place. Lines written at that moment may be lost.

    Args:
        descriptor: the log, opened to append; nothing happens unless it is a file.
        limit: the size in bytes above which the log is thinned out, to at most half of it.
    """
    if os.fstat(descriptor).st_size <= limit:
        return
    # It was opened for writing only; by its number, the kernel opens it for reading too.
    with open(f"/proc/self/fd/{descriptor}", "rb") as file:  # noqa: PTH123 - no path of the disk
        lines = file.read(2 * limit).splitlines(keepends=True)
    kept = thinned(lines, limit // 2, _alike)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, kept)


def _alike(line: bytes) -> str:
    """A line without its numbers, which differ between similar lines."""
    return _NUMBERS.sub(b"", line)[:200].decode("utf-8", "replace")
