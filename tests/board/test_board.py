"""Consoles and commands that share a simulated TPM."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.waiting import wait_until

from tpmconsole.board import Board
from tpmconsole.settings import Settings
from tpmconsole.tpm.simulator import Simulator


def test_a_command_that_starts_while_a_console_leaves_gets_a_simulator(
    settings: Callable[..., Settings], simulator: Simulator
) -> None:
    simulator.ensure()
    board = Board(settings(simulate=True))
    with (
        ThreadPoolExecutor() as pool,
        (simulator.folder / "users.lock").open("wb") as leaving,
    ):
        fcntl.flock(leaving, fcntl.LOCK_EX)
        waits = f"-> FLOCK  ADVISORY  READ {os.getpid()} "
        connecting = pool.submit(board.connect)
        wait_until(lambda: waits in Path("/proc/locks").read_text(), "its waiting for the lease")
        simulator.stop()
        leaving.close()
        connection = connecting.result(20)
    bus = connection.environment["DBUS_SESSION_BUS_ADDRESS"]
    assert simulator.status().bus == bus
    board.close()
