"""The trust anchors of an identity: the CAs that may have issued its peers' certificates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tpmconsole.board.plan import Plan
from tpmconsole.errors import Action, ConsoleError, NextStep, usage_error
from tpmconsole.text import printable
from tpmconsole.tpm.auth import Auth

if TYPE_CHECKING:  # cryptography loads when first used: the first paint is waiting
    from cryptography import x509

    from tpmconsole.board import Board
    from tpmconsole.identity.store import Identity
    from tpmconsole.x509.judge import CertificateInfo

# Enough digits to name a trust anchor: 32 bits could be forged, 64 cannot.
FINGERPRINT_DIGITS = 16


def new_anchors(board: Board, name: str, data: bytes) -> list[CertificateInfo]:
    """The certificates in a file of trust anchors that are not trusted yet; adds nothing.

    Raises:
        ConsoleError: there is no certificate in it, or one that cannot be a trust anchor.
    """
    from tpmconsole.x509.bundle import read_bundle
    from tpmconsole.x509.chain import may_be_trusted
    from tpmconsole.x509.judge import describe

    known = known_anchors(board, board.identities.get(name), replaceable=True)
    new = [one for one in read_bundle(data) if one not in known]
    for one in new:
        if not may_be_trusted(one):
            facts = describe(one)
            raise ConsoleError(
                "Not a CA certificate",
                f"'{facts.subject}' is not a CA: '{facts.issuer}' issued it",
                f"use the CA's own certificate, that of '{facts.issuer}'",
            )
    return [describe(one) for one in new]


def add_anchors(board: Board, name: str, data: bytes) -> None:
    """Also trust the CAs in a file; the user has compared their fingerprints.

    Raises:
        ConsoleError: there is no certificate in it, or it cannot be kept.
    """
    from tpmconsole.x509.bundle import read_bundle
    from tpmconsole.x509.names import fingerprint

    anchors = read_bundle(data)
    which = " ".join(map(fingerprint, anchors))
    with board.recording("add trust", identity=name, trust=which):
        board.identities.add_anchors(name, anchors)


def trust_anchors(board: Board, name: str) -> list[CertificateInfo]:
    """The trust anchors of an identity.

    Raises:
        ConsoleError: they are damaged.
    """
    from tpmconsole.x509.judge import describe

    return [describe(one) for one in board.identities.trust_certificates(name)]


def find_anchor(board: Board, name: str, which: str) -> CertificateInfo:
    """One of the trust anchors.

    Args:
        which: its SHA-256 fingerprint, or at least the first 16 digits of it.

    Raises:
        ConsoleError: there is no such anchor.
    """
    start = which.lower().replace(":", "")
    found = [one for one in trust_anchors(board, name) if one.fingerprint.startswith(start)]
    if len(start) < FINGERPRINT_DIGITS or len(found) != 1:
        raise usage_error(
            "No such trust anchor",
            f"'{name}' has no trust anchor with the fingerprint '{printable(which)}'",
            NextStep(
                Action.LIST_TRUST, name, f"see: {{}}; give at least {FINGERPRINT_DIGITS} digits"
            ),
        )
    return found[0]


def remove_anchor(board: Board, name: str, which: str) -> None:
    """Stop trusting a CA; arguments and errors as ``find_anchor``."""
    gone = find_anchor(board, name, which).fingerprint
    with board.recording("remove trust", identity=name, trust=gone):
        board.identities.drop_anchor(name, gone)


def roots_in(bundles: Sequence[bytes]) -> bytes:
    """The roots that came in a bundle, as PEM: not trusted, but the user may decide to."""
    from tpmconsole.x509.bundle import read_bundle
    from tpmconsole.x509.chain import is_ca
    from tpmconsole.x509.links import is_self_signed
    from tpmconsole.x509.names import pem

    certificates = (one for data in bundles for one in read_bundle(data))
    return pem(one for one in certificates if is_self_signed(one) and is_ca(one))


def known_anchors(board: Board, identity: Identity, *, replaceable: bool) -> list[x509.Certificate]:
    """The installed anchors; an empty list if they are damaged and about to be replaced."""
    try:
        return board.identities.trust_certificates(identity.name)
    except ConsoleError:
        if not replaceable:
            raise
        return []


def plan_add_anchors(board: Board, name: str, data: bytes) -> Plan[list[CertificateInfo]] | None:
    """Plan to also trust the CAs in a file; None if all of them are already trusted.

    Raises:
        ConsoleError: as ``new_anchors`` does.
    """
    new = new_anchors(board, name, data)
    if not new:
        return None

    def apply(_: Auth) -> list[CertificateInfo]:
        add_anchors(board, name, data)
        return new

    return Plan(
        title=f"Trust this for {name}?",
        losses=tuple(f"'{name}' would also trust {describe_anchor(anchor)}" for anchor in new),
        question="Trust it?",
        doing="adding the CA",
        apply=apply,
        subject=name,
        not_done="CA not added",
    )


def plan_remove_anchor(board: Board, name: str, which: str) -> Plan[CertificateInfo]:
    """Plan to stop trusting a CA; arguments and errors as ``find_anchor``."""
    anchor = find_anchor(board, name, which)

    def apply(_: Auth) -> CertificateInfo:
        remove_anchor(board, name, which)
        return anchor

    return Plan(
        title="Stop trusting a CA",
        losses=(
            f"'{name}' would no longer trust {describe_anchor(anchor)}: its peers are refused",
        ),
        question="Remove it?",
        doing="removing the CA",
        apply=apply,
        subject=name,
        not_done="CA not removed",
    )


def describe_anchor(anchor: CertificateInfo) -> str:
    """A trust anchor for a sentence: subject, fingerprint, and what it is trusted for."""
    return f"{anchor.subject}, SHA-256 {anchor.fingerprint}{anchor.trusted_for}"


def certificates_pem(data: bytes) -> bytes:
    """The certificates of a file in one of the forms that CAs send, as PEM.

    Raises:
        ConsoleError: the file holds no certificate.
    """
    from tpmconsole.x509.bundle import read_bundle
    from tpmconsole.x509.names import pem

    return pem(read_bundle(data))
