"""Where the sessions of this board reach a server of ours: what its certificate has to name.

How peers elsewhere reach it, nobody here knows: only the address that it listens on.
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
    """Where the server sessions of an identity that run, or are services, are known to be reached.

    A server that listens on every address (0.0.0.0, ``::``) is known to be reached nowhere by that.
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
        except ConsoleError:  # a damaged one is told in the list of sessions
            continue


def _port(status: SessionStatus, spec: SessionSpec) -> int:
    """The port that it listens on, also where it was to take a free one."""
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
