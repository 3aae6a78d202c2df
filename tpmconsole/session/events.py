"""The events of a session.

A flash disk must last for years, so only a sample of the frequent events is written to it. All of
them go to a file in memory (``memory``), if the system has a folder for that.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tpmconsole.session.event_files import LINE_BYTES as _LINE_BYTES
from tpmconsole.session.event_files import EventFile, EventFileReader, cause_of
from tpmconsole.system.rates import Allowances, Rate
from tpmconsole.text import printable

FILE = "events.jsonl"
RECENT_FILE = "recent.jsonl"  # in memory; copied beside the other when the session ends
FILE_BYTES = 1024 * 1024
RECENT_BYTES = 128 * 1024
MOST_BYTES = FILE_BYTES + _LINE_BYTES  # of one file, which another program may have written
TEXT_LENGTH = 500
POLL_S = 0.05

# For each cause: how many events go to the disk, and how many to memory. The rest is counted.
DISK_RATE = Rate(burst=100, per_s=1 / 120)
MEMORY_RATE = Rate(burst=400, per_s=20)
_REPEATED = ("connecting", "message", "handshake", "closed", "error")
_URGENT = ("final", "reload")


def now() -> str:
    """Return the present time: ISO 8601, UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class EventLog:
    """Writes a session's events; only the session's own process has one.

    Args:
        folder: where the session's events are kept.
        memory: its folder in memory; None for none.
    """

    def __init__(self, folder: Path, memory: Path | None = None) -> None:
        self._kept = EventFile(folder / FILE, FILE_BYTES)
        self._recent = None if memory is None else EventFile(memory / RECENT_FILE, RECENT_BYTES)
        self._disk_rate = Allowances(DISK_RATE)
        self._memory_rate = Allowances(MEMORY_RATE)

    def write(self, event: str, **facts: Any) -> None:
        """Append an event. If the disk is full the event is lost and the session keeps running.

        Args:
            event: one of the event names of the contract.
            facts: its fields; texts are cut, None is left out. An error with ``final`` or
                ``reload`` is never skipped, since a caller waits for it.
        """
        cause = cause_of(event, facts.get("title"))
        line: dict[str, Any] = {"time": now(), "event": event}
        line |= {name: _bounded(value) for name, value in facts.items() if value is not None}
        is_kept = event not in _REPEATED or any(name in facts for name in _URGENT)
        if is_kept or self._disk_rate.take(cause):
            if skipped := self._disk_rate.skipped(cause):
                line["skipped"] = skipped
            # A full disk must not end the session.
            with suppress(OSError):
                self._kept.append(_encoded(line))
        elif not self._write_recent(cause, line):
            self._disk_rate.skip(cause)

    def _write_recent(self, cause: str, line: dict[str, Any]) -> bool:
        if self._recent is None or not self._memory_rate.take(cause):
            return False
        try:
            self._recent.append(_encoded(line))
        except OSError:  # the folder is gone, as a user's is after the last log-out
            return False
        return True


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def plain(text: str, length: int = TEXT_LENGTH) -> str:
    """Return text that a peer chose, made safe for a terminal: printable, and cut."""
    return printable(text, length)


def _bounded(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value


class EventReader:
    """Reads a session's events: each once, as it comes. For one thread at a time.

    Args:
        folder: where the session's events are kept.
        memory: its folder in memory, which is removed when it ends; None for none.
    """

    def __init__(self, folder: Path, memory: Path | None = None) -> None:
        self._kept = EventFileReader(folder / FILE, MOST_BYTES)
        self._left = EventFileReader(folder / RECENT_FILE, MOST_BYTES)
        self._memory = None if memory is None else EventFileReader(memory / RECENT_FILE, MOST_BYTES)

    def __enter__(self) -> EventReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the events written since the last call, the oldest first."""
        recent: list[dict[str, Any]] = []
        if self._memory is not None:
            recent = list(self._memory.read())
        if self._memory is None or not self._memory.has_begun:
            # The session has ended, and has copied its events from memory to here.
            recent += self._left.read()
        return heapq.merge(list(self._kept.read()), recent, key=_moment)

    def close(self) -> None:
        """Close the files."""
        for reader in (self._kept, self._left, self._memory):
            if reader is not None:
                reader.close()


def _moment(event: dict[str, Any]) -> tuple[str, bool]:
    """An event's place in time; ``stopped`` comes last within its millisecond."""
    return event["time"], event["event"] == "stopped"


def read_events(folder: Path, memory: Path | None = None) -> Iterator[dict[str, Any]]:
    """Yield the events so far, the oldest first; arguments as for ``EventReader``."""
    with EventReader(folder, memory) as reader:
        yield from reader.read()


def follow_events(
    folder: Path, ended: Callable[[], bool], memory: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the events so far and those to come, until the session has ended.

    Args:
        ended: says whether the session has ended.
    """
    with EventReader(folder, memory) as reader:
        while True:
            # Called before reading, so that all a session wrote before it ended is read.
            last_time = ended()
            yield from reader.read()
            if last_time:
                return
            time.sleep(POLL_S)
