"""What a session's owner does besides starting and stopping: look around, start it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.session.model import SessionFacts
    from tpmconsole.session.monitor import TpmUser


def tpm_users(board: Board) -> list[TpmUser]:
    """Who uses the board's TPM besides us: not our sessions, our worker, our simulator."""
    from tpmconsole.session.monitor import family, foreign_users

    simulator = board.simulator.status()
    ours = [os.getpid(), *simulator.pids.values()]
    ours += [one.pid for one in board.sessions.list() if one.pid is not None]
    sockets = None
    if board.settings.simulate:
        bus = simulator.bus
        sockets = Path(bus.removeprefix("unix:path=")).parent if bus else board.settings.simulator
    return foreign_users(family(ours), sockets)


def restart(board: Board, session: str, password: bytes | None = None) -> SessionFacts:
    """Start a session again with what it was told, ending it first where it still runs.

    It gets an id of its own: what the old one wrote stays.

    Raises:
        ConsoleError: there is none of that name, it does not end, or does not start again.
    """
    spec = board.sessions.spec(session)
    if not board.sessions.show(session).state.ended:
        board.stop_session(session)
    return board.start_session(spec, password)
