"""Wait for what another process does, and look for what it left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def wait_until(condition: Callable[[], object], what: str = "", *, seconds: float = 10.0) -> None:
    """Check repeatedly until the condition holds; fail the test if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.002)


def processes_of(folder: Path) -> list[str]:
    """Describe other processes whose arguments, environment or directory name the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values(), process.cwd()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


def assert_nothing_left(folder: Path) -> None:
    """Fail the test if a process that belongs to the folder still runs."""
    left = processes_of(folder)
    assert not left, f"left running: {left}"
