"""Files of events: one JSON object a line, in files that do not grow for ever.

A full file becomes ``.1``, that one ``.2``. What would then be lost is thinned out into ``.past``:
of each cause the newest stay, so that a noisy one displaces itself and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from tpmconsole.errors import ConsoleError
from tpmconsole.session.said import event_of
from tpmconsole.system.files import write_atomic
from tpmconsole.system.rates import thinned
from tpmconsole.system.untrusted import (
    NotTheirFileError,
    open_to_append,
    open_to_read,
    read,
    read_end,
)

LINE_BYTES = 64 * 1024
_OLD = (".1", ".2")  # the newest first
_PAST = ".past"


def names_of(file: str) -> tuple[str, ...]:
    """The names that events of a file may have moved to, the newest first, and its own."""
    return (file, *(file + ending for ending in (*_OLD, _PAST)))


def cause_of(event: str, title: object) -> str:
    """What one rate limit is for: a kind of event, an error by its title."""
    return f"error {title}" if event == "error" else event


class EventFile:
    """The writing side of one file.

    Args:
        path: the file.
        limit: its greatest size in bytes; with what it was before there are four of these.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._ends_whole = False  # a power cut or a full disk may have left half a line

    def append(self, line: bytes) -> None:
        """Append a line.

        Raises:
            OSError: it cannot be written.
        """
        with suppress(FileNotFoundError):
            if self._path.stat().st_size + len(line) > self._limit:
                self._rotate()
            if not self._ends_whole:
                line = _after(self._path) + line
        descriptor = open_to_append(self._path)
        try:
            self._ends_whole = os.write(descriptor, line) == len(line)
        finally:
            os.close(descriptor)

    def _rotate(self) -> None:
        newest, *old, past = [self._path.with_name(name) for name in names_of(self._path.name)]
        lines = [line for path in (past, old[-1]) for line in _lines_of(path, 2 * self._limit)]
        with suppress(ConsoleError):  # a full disk: then this much is lost
            write_atomic(past, thinned(lines, self._limit, _cause_in), durable=False)
        for newer, older in reversed(list(pairwise([newest, *old]))):
            with suppress(FileNotFoundError):
                newer.replace(older)


def _after(path: Path) -> bytes:
    """What a line needs before it, so that it does not become part of half a one."""
    return b"" if read_end(path, 1) in (b"", b"\n") else b"\n"


def _cause_in(line: bytes) -> str | None:
    event = event_of(line)
    return None if event is None else cause_of(event["event"], event.get("title"))


def _lines_of(path: Path, limit: int) -> list[bytes]:
    try:
        return read(path, limit).splitlines(keepends=True)
    except OSError:
        return []


class EventFileReader:
    """The reading side of one file: each event once, as it comes. For one thread at a time.

    It keeps the file open that it has read last, and so knows it again after it was renamed.

    Args:
        path: the file.
        limit: bytes that are read at most of one file, which may be another one's than ours.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._file: IO[bytes] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there was a file."""
        return self._file is not None

    def read(self) -> Iterator[dict[str, Any]]:
        """What has come since this was asked last, the oldest first."""
        if self._file is not None:
            yield from events_in(self._file, self._limit)
            if not _was_replaced(self._file, self._path):
                return
            yield from events_in(self._file, self._limit)  # what came before it was renamed
        for file in self._newer():
            self.close()
            self._file = file
            yield from events_in(file, self._limit)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _newer(self) -> list[IO[bytes]]:
        # Opened from the newest on: a file that is renamed meanwhile is met twice, none is missed.
        found: dict[int, IO[bytes]] = {}
        ours = None if self._file is None else _number(self._file)
        names = names_of(self._path.name)
        # What was thinned out was in the other files before.
        for name in names if ours is None else names[:-1]:
            try:
                file = open_to_read(self._path.with_name(name))
            except (FileNotFoundError, NotADirectoryError, NotTheirFileError):
                continue
            number = _number(file)
            if number in found or number == ours:
                file.close()
            if number == ours:
                break  # what is older was read before
            found.setdefault(number, file)
        return list(reversed(found.values()))


def _number(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_ino


def _was_replaced(file: IO[bytes], path: Path) -> bool:
    try:
        return path.lstat().st_ino != _number(file)
    except OSError:
        return False


def events_in(file: IO[bytes], limit: int) -> Iterator[dict[str, Any]]:
    """Whole lines from where the file stands; half a line is left for the next time.

    It ends where the file ended when it began: who writes faster than we read keeps nobody here.

    Args:
        limit: bytes that are read at most: of more the end is read.
    """
    end = os.fstat(file.fileno()).st_size
    if end - file.tell() > limit:  # not ours; the last of it may be
        file.seek(end - limit)
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
