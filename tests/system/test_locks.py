"""Locks between processes and threads."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Timer

import pytest

from tpmconsole.errors import ConsoleError
from tpmconsole.system.locks import FileLock

BUSY = ConsoleError("Busy", "another one has it", "wait")


def test_shared_with_others_or_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock.on_file(path) as one, FileLock.on_file(path) as other:
        assert one.try_take(shared=True)
        assert other.try_take(shared=True)
        assert not one.try_take()
    assert path.stat().st_mode & 0o777 == 0o600
    with FileLock.on_file(path) as alone, FileLock.on_file(path) as late:
        alone.take(BUSY)
        assert not late.try_take(shared=True)


def test_waits_as_long_as_it_was_told(tmp_path: Path) -> None:
    first, second = FileLock.on_folder(tmp_path), FileLock.on_folder(tmp_path)
    with second:
        first.take(BUSY)
        begun = time.monotonic()
        with pytest.raises(ConsoleError, match="Busy"):
            second.take(BUSY, 0.1)
        assert time.monotonic() - begun >= 0.1
        Timer(0.1, first.close).start()
        second.take(BUSY, 10)


def test_nobody_else_calls_flock() -> None:
    package = Path(__file__).parents[2] / "tpmconsole"
    users = {path.name for path in package.rglob("*.py") if "fcntl.flock" in path.read_text()}
    assert users == {"locks.py"}
