"""What a session's owner does besides starting and stopping: look around, keep it going."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import usage_error
from tpmconsole.memory import Password

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.session.facts import SessionFacts
    from tpmconsole.session.monitor import TpmUser
    from tpmconsole.units import Installation


def tpm_users(board: Board) -> list[TpmUser]:
    """Who uses the board's TPM besides us: not our sessions, our worker, our simulator."""
    from tpmconsole.session.monitor import family, foreign_users

    simulator = board.simulator.status()
    ours = [os.getpid(), *simulator.pids.values(), *board.sessions.pids()]
    sockets = None
    if board.settings.simulate:
        bus = simulator.bus
        sockets = Path(bus.removeprefix("unix:path=")).parent if bus else board.settings.simulator
    return foreign_users(family(ours), sockets)


def restart(board: Board, session: str, password: Password | None = None) -> SessionFacts:
    """Start a session again with what it was told, ending it first where it still runs.

    It gets an id of its own: what the old one wrote stays.

    Raises:
        ConsoleError: there is none of that name, it does not end, or does not start again.
    """
    spec = board.sessions.spec(session)
    if not board.sessions.show(session).state.ended:
        board.stop_session(session)
    return board.start_session(spec, password)


def reload(board: Board, session: str) -> SessionFacts:
    """Have a session read its certificate, trust anchors and revocation lists again.

    Raises:
        ConsoleError: it does not run, systemd runs it, or what the files hold now cannot be used.
    """
    with board.recording("session reload", session=session):
        return board.sessions.reload(session)


def unit(board: Board, session: str, password_file: Path | None) -> Installation:
    """The systemd unit that runs a session at every boot.

    Raises:
        ConsoleError: it cannot be a service, or its key has a password and there is no file of it.
    """
    wanted = board.sessions.unit(session, password_file)
    identity = board.identities.get(board.sessions.spec(session).identity)
    if password_file is None and identity.auth == "password":
        raise usage_error(
            "Password needed",
            f"the key of '{identity.name}' has a password, and nobody types it at every boot",
            "write it into a file that only root may read, and add --password-file FILE",
        )
    return wanted


def install(
    board: Board, session: str, password_file: Path | None
) -> tuple[Installation, list[Path]]:
    """Make a session one that systemd runs.

    Returns:
        What it takes, and which files were written.

    Raises:
        ConsoleError: it runs, cannot be a service, or the unit cannot be written.
    """
    from tpmconsole import units

    wanted = unit(board, session, password_file)
    with board.recording("session install", session=session):
        board.sessions.check_ended(session)
        written = units.install(wanted)
        board.sessions.hand_over(session)
    return wanted, written
