"""Files of events: one JSON object per line, in files of limited size.

A full file becomes ``.1``, and ``.1`` becomes ``.2``. What would then be lost is thinned out into
``.past``: the newest events of each cause are kept, so that a frequent cause displaces only itself.
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
    """Return a file's own name and those its events may have moved to, the newest first."""
    return (file, *(file + ending for ending in (*_OLD, _PAST)))


def cause_of(event: str, title: object) -> str:
    """Return the cause that has its own rate limit: a kind of event, or an error's title."""
    return f"error {title}" if event == "error" else event


class EventFile:
    """Writes one file.

    Args:
        path: the file.
        limit: its greatest size in bytes; with the older ones there are up to four such files.
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
    """What to write before a line so that it does not continue an incomplete one."""
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
    """Reads one file: each event once, as it comes. For one thread at a time.

    It keeps the file that it read last open, and so recognises it after it was renamed.

    Args:
        path: the file.
        limit: the most bytes to read from one file, which another program may have written.
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
        """Yield the events written since the last call, the oldest first."""
        if self._file is not None:
            yield from events_in(self._file, self._limit)
            if not _was_replaced(self._file, self._path):
                return
            yield from events_in(self._file, self._limit)  # written before it was renamed
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
        # The newest first: a file that is renamed meanwhile is found twice, and none is missed.
        found: dict[int, IO[bytes]] = {}
        ours = None if self._file is None else _number(self._file)
        names = names_of(self._path.name)
        # Events in the thinned-out file have been read from the other files before.
        for name in names if ours is None else names[:-1]:
            try:
                file = open_to_read(self._path.with_name(name))
            except (FileNotFoundError, NotADirectoryError, NotTheirFileError):
                continue
            number = _number(file)
            if number in found or number == ours:
                file.close()
            if number == ours:
                break  # older files have been read before
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
    """Yield the events from the file's position; an incomplete line is left for the next time.

    Reading ends at the size that the file had at the start: a session that writes faster than we
    read cannot keep us here.

    Args:
        limit: the most bytes to read; if there are more, only the last of them are read.
    """
    end = os.fstat(file.fileno()).st_size
    if end - file.tell() > limit:  # the session does not write so much; its end may still be valid
        file.seek(end - limit)
    while (start := file.tell()) < end:
        line = file.readline(LINE_BYTES)
        if not line.endswith(b"\n"):
            if len(line) < LINE_BYTES:
                file.seek(start)
                return
            continue  # no event of a session has so long a line
        event = event_of(line)
        if event is not None:
            yield event
