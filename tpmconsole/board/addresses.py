"""The addresses at which this board's sessions reach its servers: a certificate must name them.

The board cannot know how peers elsewhere reach a server, only which address it listens on.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError
from tpmconsole.x509.san import Reached

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.session.spec import SessionSpec
    from tpmconsole.session.status import SessionStatus


def reached_at(board: Board, name: str) -> list[Reached]:
    """The addresses at which an identity's running or installed server sessions are reached.

    A server that listens on every address (0.0.0.0, ``::``) adds none of its own.
    """
    sessions = list(_told(board))
    servers = [one for one in sessions if one[1].role == "server" and one[1].identity == name]
    found = []
    for status, spec in servers:
        port = _port(status, spec)
        if not _is_any(spec.host):
            found.append(Reached(spec.host, f"where {status.id} listens"))
        for other, its in sessions:
            if its.role == "client" and its.port == port and _is_here(its.host, spec.host):
                found.append(Reached(its.host, f"where {other.id} connects to {status.id}"))
    return found


def _told(board: Board) -> Iterator[tuple[SessionStatus, SessionSpec]]:
    for status in board.sessions.list():
        if status.state.ended and status.unit is None:
            continue
        try:
            yield status, board.sessions.spec(status.id)
        except ConsoleError:  # the list of sessions reports a damaged one
            continue


def _port(status: SessionStatus, spec: SessionSpec) -> int:
    """The port that it listens on, even if it was started with any free port."""
    text = status.address.rpartition(":")[2]
    return spec.port or (int(text) if text.isascii() and text.isdigit() else 0)


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_here(host: str, listens: str) -> bool:
    """Whether a host that a client of this board connects to is this board."""
    if host.lower() in (listens.lower(), "localhost", socket.gethostname().lower()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
