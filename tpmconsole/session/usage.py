"""What sessions cost: processor time and memory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tpmconsole.session.ownership import process_of
from tpmconsole.session.status import SessionStatus
from tpmconsole.system.processes import Process, children_of_all, family

# By process: CPU seconds and the clock when they were read.
_samples: dict[Process, tuple[float, float]] = {}


def with_usage(sessions: Sequence[SessionStatus]) -> list[SessionStatus]:
    """The same sessions, those that run with the processor time and memory that they use.

    It reads the entry in /proc of every process of the machine, once for all sessions: ask only
    where the figures are shown.
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
    """What a process costs, and those that it has started.

    Args:
        start_time: with the pid it names the process: clock ticks since boot.
        children: as for ``family``.

    Returns:
        Per cent of one processor since this was asked last (the first time, since it began), and
        memory in bytes; None where it has gone.
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
    # A child that ended since has taken its seconds with it.
    return round(max(0.0, seconds - before_s) / elapsed * 100, 1), rss


def _costs(process: Any) -> tuple[float, int]:
    """Processor seconds until now, and bytes of memory."""
    times = process.cpu_times()
    return times.user + times.system, int(process.memory_info().rss)
