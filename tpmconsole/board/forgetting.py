"""Forgetting an identity: what is lost with it, and taking it off the board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.identity.identity import kept_certificate

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.identity.store import Identity


def losses(board: Board, name: str) -> tuple[str, ...]:
    """What is lost with an identity, and what stays, a line each.

    Raises:
        ConsoleError: there is none of that name.
    """
    identity = board.identities.get(name)
    found = [_key(identity)]
    if identity.has_certificate:
        found.append(_certificate(identity))
    found += [
        f"session {one.id}, {one.word}: starts no more"
        for one in board.sessions.list()
        if one.identity == name
    ]
    return tuple(found)


def _key(identity: Identity) -> str:
    if identity.handle is not None:
        return f"its key, if it is at 0x{identity.handle:08x} still, stays there in the TPM"
    if identity.key_lost:
        return "its key: gone already"
    return "its key: key.pem, for good"


def _certificate(identity: Identity) -> str:
    from tpmconsole.x509.names import name_text

    try:
        leaf = kept_certificate(identity)
    except ConsoleError:
        leaf = None
    if leaf is None:
        return "its certificate, which cannot be read"
    return f"certificate {name_text(leaf.subject)}, until {leaf.not_valid_after_utc:%Y-%m-%d}"


def forget(board: Board, name: str) -> None:
    """Remove an identity with its files; a key inside the TPM stays there.

    Raises:
        ConsoleError: there is none of that name, a session uses it, or it cannot be removed.
    """
    identity = board.identities.get(name)
    handle = None if identity.handle is None else f"0x{identity.handle:08x}"
    with board.recording("forget", identity=name, handle=handle):
        running = [
            one.id for one in board.sessions.list() if one.identity == name and not one.state.ended
        ]
        if running:
            raise ConsoleError(
                "Identity is in use",
                f"{', '.join(running)} runs with '{name}'",
                NextStep(Action.STOP, text="end it first: {}"),
            )
        board.identities.remove(name)
