"""What happens in a session: one JSON object a line, in a file that does not grow for ever."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from tpmconsole.session.said import event_of
from tpmconsole.system.untrusted import NotTheirFileError, open_to_append, open_to_read
from tpmconsole.text import printable

FILE = "events.jsonl"
OLD_FILES = ("events.jsonl.1", "events.jsonl.2")  # the newest first
FILE_BYTES = 1024 * 1024
TEXT_LENGTH = 500
LINE_BYTES = 64 * 1024
MOST_BYTES = FILE_BYTES + LINE_BYTES  # of one file, which may be another one's than ours
POLL_S = 0.05

# What a peer can cause as often as it likes is written so often at most; the rest is counted.
RATE = 20.0
BURST = 400.0
_REPEATED = ("message", "handshake", "closed", "error")


def now() -> str:
    """ISO 8601 UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Allowance:
    """How much more may be written now of what a peer can cause; the rest is counted."""

    def __init__(self) -> None:
        self._left = BURST
        self._filled = time.monotonic()
        self._skipped = 0

    def take(self) -> bool:
        """Whether one more may be written."""
        now_s = time.monotonic()
        self._left = min(BURST, self._left + (now_s - self._filled) * RATE)
        self._filled = now_s
        if self._left < 1:
            self._skipped += 1
            return False
        self._left -= 1
        return True

    def skipped(self) -> int:
        """How many were not written since this was asked last."""
        skipped, self._skipped = self._skipped, 0
        return skipped


class QuietLog(logging.Filter):
    """Keeps a session's log from growing as fast as its peers want it to."""

    def __init__(self) -> None:
        super().__init__()
        self._allowance = Allowance()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written; the next one that is says how many were not."""
        if not self._allowance.take():
            return False
        if skipped := self._allowance.skipped():
            record.msg = f"{record.getMessage()} ({skipped} lines before it were left out)"
            record.args = ()
        return True


class EventLog:
    """The writing side; one process has it.

    Args:
        folder: the session's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._old = [folder / name for name in OLD_FILES]
        self._allowance = Allowance()

    def write(self, event: str, **facts: Any) -> None:
        """Append an event; a full disk loses it, and the session goes on.

        Args:
            event: one of the contract's words.
            facts: what there is to say; texts are cut, None is left out. ``final=True`` is an
                error that ends the session, and never skipped.
        """
        if event in _REPEATED and not facts.get("final") and not self._allowance.take():
            return
        line: dict[str, Any] = {"time": now(), "event": event}
        line |= {name: _bounded(value) for name, value in facts.items() if value is not None}
        if skipped := self._allowance.skipped():
            line["skipped"] = skipped
        # A full disk must not end the session that tells about it.
        with suppress(OSError):
            self._append(json.dumps(line).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        with suppress(FileNotFoundError):
            if self._path.stat().st_size + len(line) > FILE_BYTES:
                self._rotate()
        descriptor = open_to_append(self._path)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def _rotate(self) -> None:
        for newer, older in reversed(list(pairwise([self._path, *self._old]))):
            with suppress(FileNotFoundError):
                newer.replace(older)


def plain(text: str, length: int = TEXT_LENGTH) -> str:
    """Text that a peer chose, made safe to show on a terminal: printable, and cut."""
    return printable(text, length)


def _bounded(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value


class EventReader:
    """The reading side: each event once, as it comes. For one thread at a time.

    It keeps the file open that it has read last, and so knows it again after it was renamed.

    Args:
        folder: the session's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None

    def __enter__(self) -> EventReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> Iterator[dict[str, Any]]:
        """What has come since this was asked last, the oldest first."""
        if self._file is not None:
            yield from _events_in(self._file)
            if not _was_replaced(self._file, self._folder / FILE):
                return
            yield from _events_in(self._file)  # what came before it was renamed
        for file in self._newer():
            self.close()
            self._file = file
            yield from _events_in(file)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _newer(self) -> list[IO[bytes]]:
        # Opened from the newest on: a file that is renamed meanwhile is met twice, none is missed.
        found: dict[int, IO[bytes]] = {}
        ours = None if self._file is None else _number(self._file)
        for name in (FILE, *OLD_FILES):
            try:
                file = open_to_read(self._folder / name)
            except (FileNotFoundError, NotADirectoryError, NotTheirFileError):
                continue
            number = _number(file)
            if number in found or number == ours:
                file.close()
            if number == ours:
                break  # what is older was read before
            found.setdefault(number, file)
        return list(reversed(found.values()))


def read_events(folder: Path) -> Iterator[dict[str, Any]]:
    """The events there are, the oldest first."""
    with EventReader(folder) as reader:
        yield from reader.read()


def follow_events(folder: Path, ended: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """The events there are and those to come, until the session has ended.

    Args:
        ended: asked when there is nothing more to read.
    """
    with EventReader(folder) as reader:
        while True:
            # Asked before reading: what is written before a session ends is read after.
            last_time = ended()
            yield from reader.read()
            if last_time:
                return
            time.sleep(POLL_S)


def _number(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_ino


def _was_replaced(file: IO[bytes], path: Path) -> bool:
    try:
        return path.lstat().st_ino != _number(file)
    except OSError:
        return False


def _events_in(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Whole lines from where the file stands; half a line is left for the next time.

    It ends where the file ended when it began: who writes faster than we read keeps nobody here.
    """
    end = os.fstat(file.fileno()).st_size
    if end - file.tell() > MOST_BYTES:  # not ours; the last of it may be
        file.seek(end - MOST_BYTES)
    while (start := file.tell()) < end:
        line = file.readline(LINE_BYTES)
        if not line.endswith(b"\n"):
            if len(line) < LINE_BYTES:
                file.seek(start)
                return
            continue  # not ours: no event has so long a line
        event = event_of(line)
        if event is not None:
            yield event
