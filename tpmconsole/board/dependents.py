"""What a key is used for: the identities, certificates, sessions and other keys that need it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError
from tpmconsole.system.files import read_bounded
from tpmconsole.tpm.model import KeyFile, PersistentKey

if TYPE_CHECKING:
    from cryptography import x509

    from tpmconsole.board import Board
    from tpmconsole.identity.store import Identity

CERTIFICATE_BYTES = 1024 * 1024


def users(board: Board, key: KeyFile | PersistentKey) -> tuple[str, ...]:
    """Who uses a key, a line each: identities and certificates by their public key.

    Args:
        key: as the list of keys has it; the TPM is not asked.
    """
    return tuple(_users(board, key))


def _users(board: Board, key: KeyFile | PersistentKey) -> Iterator[str]:
    for identity in board.identities.all():
        if identity.name == key.identity:
            yield f"identity {identity.name}: its key"
        leaf = _leaf(identity)
        if leaf is not None and key.public_pem and _public_pem(leaf) == key.public_pem:
            from tpmconsole.x509.names import name_text

            until = f"{leaf.not_valid_after_utc:%Y-%m-%d}"
            yield f"identity {identity.name}: certificate {name_text(leaf.subject)}, until {until}"


def fingerprint(public_pem: str) -> str:
    """SHA-256 of a public key (SubjectPublicKeyInfo, DER) in hex, as openssl and browsers do it."""
    body = "".join(line for line in public_pem.splitlines() if not line.startswith("-----"))
    return hashlib.sha256(base64.b64decode(body)).hexdigest()


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
        for one in board.keyring.files()
        if one.parent == key.handle
    ]
    return tuple(found)


def _leaf(identity: Identity) -> x509.Certificate | None:
    """The identity's certificate; None where it has none that can be read."""
    from tpmconsole.x509.bundle import read_bundle

    if not identity.has_certificate:
        return None
    try:
        return read_bundle(read_bounded(identity.certificate, CERTIFICATE_BYTES))[0]
    except ConsoleError:  # the Overview tells what is wrong with it
        return None


def _public_pem(certificate: x509.Certificate) -> str | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):  # somebody put it there past our checks
        return None
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
