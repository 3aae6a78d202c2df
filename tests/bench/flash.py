"""What a talking session writes to the disk in an hour, by the kernel's own count (proc_pid_io(5)).

The first minutes count as they are; the rest of the hour is taken to be as what follows them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import psutil

from bench.measure import print_heading, print_row, verdict
from bench.worlds import World, port_of
from tpmconsole.board import Board
from tpmconsole.session.status import SessionStatus
from tpmconsole.system.mounts import file_system_of

HOUR_S = 3600.0
# Until each cause has used up what it may write at once (events.DISK_RATE).
FIRST_S = 120.0
THEN_S = 150.0
MOST_MB = 1.0
DISK = Path("/var/tmp")


def bench(board: Board) -> None:
    """Print a row for each session: with a place in memory, and on a system without one."""
    with tempfile.TemporaryDirectory(prefix="bench", dir=DISK) as name:
        folder = Path(name)
        print_heading(
            f"What a session at defaults writes to the disk in an hour ({file_system_of(folder)})"
        )
        worlds = {"": _world(board, folder / "a"), ", no place in memory": _none(board, folder)}
        sessions = {
            f"{role}{where}": one
            for where, (world, pair) in worlds.items()
            for role, one in zip(("server", "client"), pair, strict=True)
        }
        try:
            start = {one: _written(session) for one, session in sessions.items()}
            time.sleep(FIRST_S)
            first = {one: _written(session) for one, session in sessions.items()}
            time.sleep(THEN_S)
            for one, session in sessions.items():
                then = (_written(session) - first[one]) * (HOUR_S - FIRST_S) / THEN_S
                megabytes = (first[one] - start[one] + then) / 1e6
                print_row(one, f"{megabytes:.2f} MB", verdict(megabytes, MOST_MB))
        finally:
            for world, pair in worlds.values():
                for session in pair:
                    world.supervisor.stop(session.id)


Talking = tuple[World, tuple[SessionStatus, SessionStatus]]


def _world(board: Board, folder: Path) -> Talking:
    folder.mkdir()
    world = World.make(board, folder)
    server = world.start("server")
    return world, (server, world.start("client", port_of(server)))


def _none(board: Board, folder: Path) -> Talking:
    with patch("tpmconsole.session.directory.choose_memory_folder", return_value=None):
        return _world(board, folder / "b")


def _written(session: SessionStatus) -> int:
    """Bytes that a session and the process of its key have sent to the disk."""
    process = psutil.Process(session.pid)
    family = [process, *process.children(recursive=True)]
    return sum(int(one.io_counters().write_bytes) for one in family)
