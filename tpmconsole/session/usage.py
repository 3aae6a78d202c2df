"""The processor time and memory that sessions use."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tpmconsole.session.ownership import process_of
from tpmconsole.session.status import SessionStatus
from tpmconsole.system.processes import Process, children_of_all, family

# By process: CPU seconds, and when they were read.
_samples: dict[Process, tuple[float, float]] = {}


def with_usage(sessions: Sequence[SessionStatus]) -> list[SessionStatus]:
    """Return the sessions, with the processor time and memory of those that run.

    This reads the /proc entry of every process of the machine, once for all sessions: call it only
    if the figures are shown.
    """
    at_work = {
        index: process
        for index, session in enumerate(sessions)
        if not session.state.ended and (process := process_of(session)) is not None
    }
    found = list(sessions)
    children = children_of_all() if at_work else {}
    for index, process in at_work.items():
        cpu, rss = usage(process.pid, process.started, children)
        found[index] = replace(found[index], cpu_percent=cpu, rss_bytes=rss)
    return found


def usage(
    pid: int, start_time: int, children: Mapping[int, Sequence[int]] | None = None
) -> tuple[float | None, int | None]:
    """Return what a process and those that it started use.

    Args:
        start_time: clock ticks since boot; identifies the process together with the pid.
        children: as for ``family``.

    Returns:
        Per cent of one processor since the last call (the first time: since the process began),
        and memory in bytes; None if the process has ended.
    """
    import psutil

    process = Process(pid, start_time)
    try:
        if not process.alive:
            raise psutil.NoSuchProcess(pid)
        found = psutil.Process(pid)
        seconds, rss = _costs(found)
        for child in family([pid], children)[1:]:
            with suppress(psutil.Error):  # it has ended meanwhile
                more_seconds, more_rss = _costs(psutil.Process(child))
                seconds, rss = seconds + more_seconds, rss + more_rss
        clock = time.monotonic()
        before_s, before = _samples.get(process, (0.0, clock - (time.time() - found.create_time())))
    except psutil.Error:
        _samples.pop(process, None)
        return None, None
    _samples[process] = (seconds, clock)
    elapsed = max(clock - before, 1e-3)
    # The seconds of a child that has ended since are missing.
    return round(max(0.0, seconds - before_s) / elapsed * 100, 1), rss


def _costs(process: Any) -> tuple[float, int]:
    """Processor seconds until now, and bytes of memory."""
    times = process.cpu_times()
    return times.user + times.system, int(process.memory_info().rss)
