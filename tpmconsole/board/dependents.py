"""What a key is used for: the identities, certificates, sessions and other keys that need it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from tpmconsole.board.keys import key_files
from tpmconsole.tpm.model import KeyFile, PersistentKey

if TYPE_CHECKING:
    from cryptography import x509

    from tpmconsole.board import Board


def users(board: Board, key: KeyFile | PersistentKey) -> tuple[str, ...]:
    """Who uses a key, a line each: identities and certificates by their public key.

    Args:
        key: as the list of keys has it; the TPM is not asked.
    """
    return tuple(_users(board, key))


def _users(board: Board, key: KeyFile | PersistentKey) -> Iterator[str]:
    from tpmconsole.identity.identity import kept_certificate, unless_damaged

    wanted = fingerprint(key.public_pem) if key.public_pem else None
    for identity in board.identities.all():
        if identity.name == key.identity:
            yield f"identity {identity.name}: its key"
        # The Overview tells what is wrong with a damaged one.
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

    Besides its users: sessions that sign with it, and key files that are sealed to it.
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
    except (ValueError, UnsupportedAlgorithm):  # somebody put it there past our checks
        return None
