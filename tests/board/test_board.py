"""Consoles and commands that share a simulated TPM."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tpmconsole.board import Board
from tpmconsole.settings import Settings
from tpmconsole.system.locks import FileLock
from tpmconsole.tpm.simulator import Simulator


def test_a_command_that_starts_while_a_console_leaves_gets_a_simulator(
    settings: Callable[..., Settings], simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, take = Event(), FileLock.try_take

    def try_take(lock: FileLock, *, shared: bool = False) -> bool:
        taken = take(lock, shared=shared)
        if shared and not taken:
            waits.set()
        return taken

    monkeypatch.setattr(FileLock, "try_take", try_take)
    simulator.ensure()
    board = Board(settings(simulate=True))
    with (
        ThreadPoolExecutor() as pool,
        (simulator.folder / "users.lock").open("wb") as leaving,
    ):
        fcntl.flock(leaving, fcntl.LOCK_EX)
        connecting = pool.submit(board.connect)
        assert waits.wait(20)
        simulator.stop()
        leaving.close()
        connection = connecting.result(20)
    bus = connection.environment["DBUS_SESSION_BUS_ADDRESS"]
    assert simulator.status().bus == bus
    board.close()
