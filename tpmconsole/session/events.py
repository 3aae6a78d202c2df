"""What happens in a session: one JSON object a line, in a file that does not grow for ever."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from tpmconsole.files import PRIVATE_FILE

FILE = "events.jsonl"
OLD_FILE = "events.jsonl.1"
FILE_BYTES = 1024 * 1024
TEXT_LENGTH = 500
LINE_BYTES = 64 * 1024
POLL_S = 0.05

# What a peer can cause as often as it likes is written so often at most; the rest is counted.
RATE = 20.0
BURST = 400.0
_REPEATED = ("message", "handshake", "closed", "error")


def now() -> str:
    """ISO 8601 UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class EventLog:
    """The writing side; one process has it.

    Args:
        folder: the session's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._old = folder / OLD_FILE
        self._allowance = BURST
        self._filled = time.monotonic()
        self._skipped = 0

    def write(self, event: str, **facts: Any) -> None:
        """Append an event; a full disk loses it, and the session goes on.

        Args:
            event: one of the contract's words.
            facts: what there is to say; texts are cut, None is left out. ``final=True`` is an
                error that ends the session, and never skipped.
        """
        if event in _REPEATED and not facts.get("final") and not self._allowed():
            self._skipped += 1
            return
        line: dict[str, Any] = {"time": now(), "event": event}
        line |= {name: _bounded(value) for name, value in facts.items() if value is not None}
        if self._skipped:
            line["skipped"], self._skipped = self._skipped, 0
        # A full disk must not end the session that tells about it.
        with suppress(OSError):
            self._append(json.dumps(line).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        with suppress(FileNotFoundError):
            if self._path.stat().st_size + len(line) > FILE_BYTES:
                self._path.replace(self._old)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, PRIVATE_FILE)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def _allowed(self) -> bool:
        now_s = time.monotonic()
        self._allowance = min(BURST, self._allowance + (now_s - self._filled) * RATE)
        self._filled = now_s
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


def plain(text: str, length: int = TEXT_LENGTH) -> str:
    """Text that a peer chose, made safe to show on a terminal: printable, and cut."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:length])
    return shown if len(text) <= length else shown[:-1] + "…"


def _bounded(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value


def read_events(folder: Path) -> Iterator[dict[str, Any]]:
    """The events there are, the oldest first."""
    for name in (OLD_FILE, FILE):
        try:
            with (folder / name).open("rb") as file:
                yield from _events_in(file)
        except FileNotFoundError:
            continue


def follow_events(folder: Path, ended: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """The events there are and those to come, until the session has ended.

    Args:
        ended: asked when there is nothing more to read.
    """
    with suppress(FileNotFoundError), (folder / OLD_FILE).open("rb") as old:
        yield from _events_in(old)
    file: IO[bytes] | None = None
    try:
        while True:
            # Asked before reading: what is written before a session ends is read after.
            last_time = ended()
            if file is None:
                with suppress(FileNotFoundError):
                    file = (folder / FILE).open("rb")
            if file is not None:
                yield from _events_in(file)
                if _was_replaced(file, folder / FILE):
                    yield from _events_in(file)
                    file.close()
                    file = None
                    continue
            if last_time:
                return
            time.sleep(POLL_S)
    finally:
        if file is not None:
            file.close()


def _was_replaced(file: IO[bytes], path: Path) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _events_in(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Whole lines from where the file stands; half a line is left for the next time."""
    while True:
        start = file.tell()
        line = file.readline(LINE_BYTES)
        if not line.endswith(b"\n"):
            if len(line) < LINE_BYTES:
                file.seek(start)
                return
            continue  # not ours: no event has so long a line
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
