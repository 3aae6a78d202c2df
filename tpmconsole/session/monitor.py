"""What a session costs, and who else uses the TPM."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tpmconsole.tpm.processes import Process

PROC = Path("/proc")
LOOK_S = 0.5
_MAPS_BYTES = 4 * 1024 * 1024

# What is mapped into a program that uses the TPM through a library.
_MODULES = {
    "/tpm2.so": "the OpenSSL module tpm2",
    "/libtss2-esys.so": "the TSS (libtss2-esys)",
}

# By process: CPU seconds and the clock when they were read.
_samples: dict[Process, tuple[float, float]] = {}


@dataclass(frozen=True, slots=True)
class TpmUser:
    """A process that uses the TPM.

    Attributes:
        how: by what: a device that it has open, a library that it has loaded.
        since: its start, ISO 8601 UTC.
    """

    pid: int
    name: str
    user: str
    how: str
    since: str

    def to_json(self) -> dict[str, Any]:
        """The user as commands with ``--json`` print it."""
        return asdict(self)


def usage(pid: int, start_time: int) -> tuple[float | None, int | None]:
    """What a process costs.

    Args:
        start_time: with the pid it names the process: clock ticks since boot.

    Returns:
        Per cent of one processor since this was asked last (the first time, since it began), and
        its memory in bytes; None where it has gone.
    """
    import psutil

    process = Process(pid, start_time)
    try:
        if not process.alive:
            raise psutil.NoSuchProcess(pid)
        found = psutil.Process(pid)
        times, rss = found.cpu_times(), found.memory_info().rss
        clock, seconds = time.monotonic(), times.user + times.system
        before_s, before = _samples.get(process, (0.0, clock - (time.time() - found.create_time())))
    except psutil.Error:
        _samples.pop(process, None)
        return None, None
    _samples[process] = (seconds, clock)
    elapsed = max(clock - before, 1e-3)
    return round(max(0.0, seconds - before_s) / elapsed * 100, 1), int(rss)


def foreign_users(known: Iterable[int] = ()) -> list[TpmUser]:
    """Processes that use the TPM and were not started by us.

    Looks at what this user may see, for half a second at most; those that were looked at until
    then are told.

    Args:
        known: process numbers to leave out: ours.
    """
    left_out = {os.getpid(), *known}
    deadline = time.monotonic() + LOOK_S
    found = []
    for entry in PROC.iterdir():
        if time.monotonic() > deadline:
            break
        if not entry.name.isdecimal() or int(entry.name) in left_out:
            continue
        how = _device(entry) or _module(entry)
        user = _user(int(entry.name), how) if how else None
        if user:
            found.append(user)
    return found


def _device(entry: Path) -> str:
    try:
        for descriptor in (entry / "fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("/dev/tpm"):
                return target
    except OSError:
        pass  # it ended meanwhile, or is another user's
    return ""


def _module(entry: Path) -> str:
    try:
        with (entry / "maps").open("rb") as file:
            maps = file.read(_MAPS_BYTES)
    except OSError:
        return ""
    for name, words in _MODULES.items():
        if name.encode() in maps:
            return words
    return ""


def _user(pid: int, how: str) -> TpmUser | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return TpmUser(
            pid=pid,
            name=process.name(),
            user=process.username(),
            how=how,
            since=datetime.fromtimestamp(process.create_time(), UTC).isoformat(timespec="seconds"),
        )
    except psutil.Error:
        return None
