"""List what depends on a key or an identity, and remove it after naming the losses."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from tpmconsole.board.keys import evict, key_files, persistent_keys
from tpmconsole.board.plan import Plan
from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.identity.identity import kept_certificate, unless_damaged
from tpmconsole.tpm.handles import check_owners
from tpmconsole.tpm.model import KeyFile, PersistentKey

if TYPE_CHECKING:
    from cryptography import x509

    from tpmconsole.board import Board
    from tpmconsole.identity.store import Identity
    from tpmconsole.tpm.auth import Auth


def users(board: Board, key: KeyFile | PersistentKey) -> tuple[str, ...]:
    """The users of a key, a line each: identities and certificates with its public key.

    Args:
        key: as the list of keys has it; the TPM is not asked.
    """
    return tuple(_users(board, key))


def _users(board: Board, key: KeyFile | PersistentKey) -> Iterator[str]:
    wanted = fingerprint(key.public_pem) if key.public_pem else None
    for identity in board.identities.all():
        if identity.closed:
            yield f"identity {identity.name}: perhaps; {identity.problem}"
            continue
        if identity.name == key.identity:
            yield f"identity {identity.name}: its key"
        # The Overview reports what is wrong with a damaged identity.
        leaf = unless_damaged(partial(kept_certificate, identity))
        if leaf is not None and wanted is not None and _fingerprint(leaf) == wanted:
            from tpmconsole.x509.names import name_text

            until = f"{leaf.not_valid_after_utc:%Y-%m-%d}"
            yield f"identity {identity.name}: certificate {name_text(leaf.subject)}, until {until}"


def fingerprint(public_pem: str) -> str:
    """SHA-256 of a public key in hex."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from tpmconsole.x509.names import key_fingerprint

    return key_fingerprint(load_pem_public_key(public_pem.encode("ascii")))


def dependents(board: Board, key: PersistentKey) -> tuple[str, ...]:
    """What is lost with a persistent key, a line each.

    Besides its users: sessions that sign with it, and key files that have it as their parent.
    """
    found = list(users(board, key))
    if key.identity is not None:
        found += [
            f"session {one.id}, {one.word}"
            for one in board.sessions.list()
            if one.identity == key.identity and not one.state.ended
        ]
    found += [
        f"key file {one.identity or one.path}: this is its parent"
        for one in key_files(board)
        if one.parent == key.handle
    ]
    return tuple(found)


def _fingerprint(certificate: x509.Certificate) -> str | None:
    from cryptography.exceptions import UnsupportedAlgorithm

    from tpmconsole.x509.names import key_fingerprint

    try:
        return key_fingerprint(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):  # a file that was put there by hand, past our checks
        return None


def plan_evict(board: Board, handle: int) -> Plan[tuple[str, ...]]:
    """Plan to remove a persistent key from the TPM; its result is what no longer works.

    Raises:
        ConsoleError: the handle is empty, the owner cannot remove its key, or the TPM does not
            answer.
    """
    check_owners(handle)
    where = f"0x{handle:08x}"
    keys = [key for key in persistent_keys(board) if int(key.handle, 16) == handle]
    if not keys:
        raise ConsoleError(
            "No such handle", f"nothing is at {where}", NextStep(Action.LIST_KEYS, text="run: {}")
        )
    lost = dependents(board, keys[0])

    def apply(auth: Auth) -> tuple[str, ...]:
        evict(board, handle, auth)
        return lost

    return Plan(
        title=f"Evict {where}",
        losses=(
            _key_at_handle(keys[0]),
            *(f"no longer works: {line}" for line in lost),
        ),
        question="Remove it from the TPM?",
        doing="removing the key",
        apply=apply,
        subject=where,
        not_done="Key not removed",
    )


def _key_at_handle(key: PersistentKey) -> str:
    if not key.readable:
        return f"what it holds is lost permanently: it {key.purpose}: {key.reason}"
    return f"{key.algorithm}, {key.purpose}, is lost permanently"


def plan_forget(board: Board, name: str) -> Plan[None]:
    """Plan to remove an identity with its files.

    Raises:
        ConsoleError: there is no such identity, or a running session uses it.
    """
    names = board.identities.names()
    if name not in names:
        raise ConsoleError(
            "Unknown identity",
            f"there is no identity '{name}'",
            f"use an existing one: {', '.join(names[:8])}"
            if names
            else "there is nothing to forget",
        )
    _refuse_in_use(board, name)
    return Plan(
        title=f"Forget {name}",
        losses=_losses(board, name),
        question="Remove this identity?",
        doing="removing the identity",
        apply=lambda _: forget(board, name),
        subject=name,
        not_done="Identity not forgotten",
    )


def _losses(board: Board, name: str) -> tuple[str, ...]:
    """What is lost with an identity, and what remains, a line each.

    Raises:
        ConsoleError: there is no such identity.
    """
    identity = board.identities.get(name)
    found = [_key(identity)]
    if identity.has_certificate:
        found.append(_certificate(identity))
    found += [
        f"session {one.id}, {one.word}: can no longer start"
        for one in board.sessions.list()
        if one.identity == name
    ]
    return tuple(found)


def _key(identity: Identity) -> str:
    if identity.handle is not None:
        return f"its key, if still at 0x{identity.handle:08x}, remains in the TPM"
    if identity.key_lost:
        return "its key: already gone"
    return "its key: key.pem, permanently"


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
    """Remove an identity with its files; a key inside the TPM is kept.

    Raises:
        ConsoleError: there is no such identity, a session uses it, or it cannot be removed.
    """
    identity = board.identities.get(name)
    handle = None if identity.handle is None else f"0x{identity.handle:08x}"
    with board.recording("forget", identity=name, handle=handle):
        _refuse_in_use(board, name)
        board.identities.remove(name)


def _refuse_in_use(board: Board, name: str) -> None:
    running = [
        one.id for one in board.sessions.list() if one.identity == name and not one.state.ended
    ]
    if running:
        raise ConsoleError(
            "Identity is in use",
            f"'{name}' is used by {', '.join(running)}",
            NextStep(Action.STOP, text="end the session first: {}"),
        )
