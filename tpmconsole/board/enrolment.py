"""The board's side of an enrolment that proves where the key is: ask, open, answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.board.open_key import OpenKey, open_key
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.system.files import PUBLIC_FILE, write_out
from tpmconsole.tpm.auth import NO_AUTH, Auth

if TYPE_CHECKING:  # cryptography loads when first used: the first paint is waiting
    from cryptography import x509

    from tpmconsole.board import Board
    from tpmconsole.enrol.files import AttestedRequest, Envelope
    from tpmconsole.identity.attestation import Attestation
    from tpmconsole.identity.identity import Identity
    from tpmconsole.tpm.keyfile.public_area import PublicArea
    from tpmconsole.tpm.model import Endorsement

# What somebody has to know before the file is written.
DISCLOSURE = (
    "The file names this TPM for ever: its endorsement certificates are in it, with its maker, "
    "model and firmware. Everybody who gets the file, or another one of this board, can tell that "
    "both are of the same chip, whatever names are asked for. There is nothing secret in it."
)
_ADMIN_WITH_POLICY = 1 << 7  # TPMA_OBJECT, Part 2, 8.3


@dataclass(frozen=True, slots=True)
class Attested:
    """An attested request that was made.

    Attributes:
        pem: the file.
        chip: the chip in words.
        endorsement: SHA-256 of each of its endorsement keys: what a CA's inventory goes by.
    """

    pem: bytes
    chip: str
    endorsement: tuple[str, ...]


def attest_request(
    board: Board, name: str, auth: Auth = NO_AUTH, out: Path | None = None
) -> Attested:
    """Add to the kept request what proves to a CA that its key is in this TPM.

    Nothing is signed for it: the proof comes when the board opens what the CA has sealed.

    Args:
        auth: the endorsement hierarchy's, where it has a password.
        out: also written here.

    Raises:
        ConsoleError: there is no request, its key cannot prove itself, or the TPM has no
            certificate of its maker, or refuses.
    """
    from tpmconsole.enrol.judge import chip_words
    from tpmconsole.x509.attestation import chip_of
    from tpmconsole.x509.names import key_fingerprint

    identity = board.identities.get(name)
    with board.recording("attest request", identity=name) as facts:
        key = open_key(board, identity)
        _check_key(identity, key.area)
        attested = _attested(board, identity, key, auth)
        prints = tuple(key_fingerprint(one.public_key()) for one in attested.certificates)
        facts["endorsement"] = " ".join(prints)
        pem = attested.to_pem()
        if out is not None:
            write_out(out, pem, PUBLIC_FILE)
        board.identities.save_request(name, pem, identity.role or "client")
    return Attested(pem, chip_words(chip_of(attested.certificates[0])), prints)


def request_is_attested(board: Board, name: str) -> bool:
    """Whether the kept request is an attested one."""
    from tpmconsole.identity.identity import request_is_attested

    return request_is_attested(board.identities.get(name))


def _check_key(identity: Identity, area: PublicArea) -> None:
    """Refuse a key that no CA takes for one of a TPM.

    Raises:
        ConsoleError: it was outside of one, may leave it, or needs a policy to prove itself.
    """
    if area.lacks:
        why = f"it was outside of a TPM, or may leave it: it lacks {', '.join(area.lacks)}"
    elif area.attributes & _ADMIN_WITH_POLICY or area.policy:
        why = "it was made with a policy, and a CA cannot know who satisfies that"
    else:
        return
    raise ConsoleError(
        "Key cannot prove itself",
        f"the key of '{identity.name}' is not one that a CA can be sure of: {why}",
        NextStep(Action.CREATE, text="make a new key in the TPM, and ask for that: {}"),
        ExitCode.REFUSED,
    )


def _attested(board: Board, identity: Identity, key: OpenKey, auth: Auth) -> AttestedRequest:
    from tpmconsole.enrol.files import AttestedRequest

    request = _request_for(identity, key)
    endorsement = board.tpm.endorsement(auth, prove=True)
    certificates = _good_certificates(endorsement)
    return AttestedRequest(request, key.area, certificates, _chain(endorsement))


def _request_for(identity: Identity, key: OpenKey) -> x509.CertificateSigningRequest:
    from tpmconsole.identity.identity import kept_request
    from tpmconsole.x509.names import key_bytes

    request = kept_request(identity)
    if request is None or key_bytes(request.public_key()) != key_bytes(key.public):
        raise ConsoleError(
            "No request",
            f"'{identity.name}' has no request for its key yet",
            NextStep(Action.REQUEST, identity.name, "make it first: {}"),
        )
    return request


def _good_certificates(endorsement: Endorsement) -> tuple[x509.Certificate, ...]:
    """The endorsement certificates that prove something.

    Raises:
        ConsoleError: there are none.
    """
    from tpmconsole.x509.as_signed import read_certificate

    good = [one.der for one in endorsement.certificates if not one.problem]
    if good:
        return tuple(map(read_certificate, good))
    plain = "hand the plain request over; your CA has to know the board in another way"
    if not endorsement.certificates:
        raise ConsoleError(
            "No endorsement certificate",
            "the maker left none in this TPM, so that nobody can tell that it is a chip",
            NextStep(Action.HAND_OVER, text=f"ask the maker for it, or {plain}: {{}}"),
            ExitCode.REFUSED,
        )
    bad = endorsement.certificates[0]
    raise ConsoleError(
        "Endorsement certificate of no use",
        f"the one at 0x{bad.index:08x}: {bad.problem}",
        NextStep(Action.HAND_OVER, text=f"{plain}: {{}}"),
        ExitCode.REFUSED,
    )


def _chain(endorsement: Endorsement) -> tuple[x509.Certificate, ...]:
    """The maker's CAs that can be read; a CA that trusts the maker has them anyway."""
    from tpmconsole.x509.as_signed import read_certificate

    found = []
    for der in endorsement.chain:
        try:
            found.append(read_certificate(der))
        except ValueError:
            continue
    return tuple(found)


# What the CA sends back


def is_sealed(data: bytes) -> bool:
    """Whether a file is a certificate that is sealed for a key in a TPM."""
    from tpmconsole.enrol import files

    return files.is_sealed(data)


def open_sealed(
    board: Board, identity: Identity, key: OpenKey, data: bytes, auth: Auth
) -> tuple[bytes, Attestation | None]:
    """What a CA has sent, opened where it is sealed for this key in this TPM.

    Args:
        auth: the key's password, and the endorsement hierarchy's where it has one.

    Returns:
        the certificates, and how the key has proved itself; None where they were not sealed.

    Raises:
        ConsoleError: it is sealed for another key or chip, damaged, or the TPM refuses.
    """
    from tpmconsole.enrol.files import is_attested, is_sealed, read_sealed
    from tpmconsole.enrol.sealing import unseal

    if is_attested(data):
        raise ConsoleError(
            "Certificate not read",
            "it is the attested request that this or another board has made",
            "send it to the CA; what comes back is the certificate",
        )
    if not is_sealed(data):
        return data, None
    sealed = read_sealed(data)
    found: list[Attestation] = []

    def opened(envelope: Envelope) -> bytes:
        secret, attestation = _open_envelope(board, identity, key, envelope, auth)
        found.append(attestation)
        return secret

    # A slow chip needs seconds for it, and the same file is judged again and again.
    digest = key.area.name + hashlib.sha256(data).digest()
    if digest not in board.opened:
        certificates = unseal(sealed, opened)
        board.opened[digest] = certificates, found[0]
    return board.opened[digest]


def opened_before(board: Board, data: bytes) -> bytes:
    """What was in a sealed file that has been opened; any other file as it is."""
    digest = hashlib.sha256(data).digest()
    found = (opened for key, (opened, _) in board.opened.items() if key.endswith(digest))
    return next(found, data)


def answer_challenge(
    board: Board, name: str, challenge: bytes, auth: Auth = NO_AUTH, out: Path | None = None
) -> bytes:
    """Answer a CA's challenge: only this key in this TPM can.

    Args:
        challenge: the file's content.
        auth: as in ``open_sealed``.
        out: also written here.

    Returns:
        the answer, PEM.

    Raises:
        ConsoleError: it is for another key or chip, damaged, or the TPM refuses.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from tpmconsole.enrol.files import read_challenge
    from tpmconsole.enrol.sealing import answer

    identity = board.identities.get(name)
    with board.recording("answer challenge", identity=name):
        key = open_key(board, identity)
        request = _request_for(identity, key).public_bytes(Encoding.DER)
        given = answer(
            hashlib.sha256(request).digest(),
            read_challenge(challenge),
            lambda envelope: _open_envelope(board, identity, key, envelope, auth)[0],
        )
        pem = given.to_pem()
        if out is not None:
            write_out(out, pem, PUBLIC_FILE)
    return pem


def _open_envelope(
    board: Board, identity: Identity, key: OpenKey, envelope: Envelope, auth: Auth
) -> tuple[bytes, Attestation]:
    """The secret in an envelope, and to whom this proves what.

    Whether it is for this key and this chip, the envelope says itself: so nothing is made of it
    that would be refused, and where it lies, the TPM refuses.
    """
    from tpmconsole.enrol.judge import chip_words
    from tpmconsole.identity.attestation import Attestation
    from tpmconsole.x509.as_signed import read_certificate
    from tpmconsole.x509.attestation import chip_of
    from tpmconsole.x509.names import key_fingerprint

    if envelope.name != key.area.name:
        raise _for_another(identity, "another key than that of this identity")
    identity.check_given(auth.key)
    for one in board.tpm.endorsement(auth, prove=False).certificates:
        if one.problem:
            continue
        certificate = read_certificate(one.der)
        fingerprint = key_fingerprint(certificate.public_key())
        if bytes.fromhex(fingerprint) == envelope.endorsement:
            credential = envelope.credential
            secret = board.tpm.activate(
                key.ref, one.index, credential.blob, credential.secret, auth
            )
            when = datetime.now(UTC).isoformat(timespec="seconds")
            return secret, Attestation(when, chip_words(chip_of(certificate)), fingerprint)
    raise _for_another(identity, "another chip than this board's TPM")


def _for_another(identity: Identity, whose: str) -> ConsoleError:
    return ConsoleError(
        "Sealed for another",
        f"it is sealed for {whose}, and nobody else can open it; this TPM is well",
        NextStep(
            Action.ATTEST,
            identity.name,
            "take the file that the CA made for this board, or ask it again: {}",
        ),
        ExitCode.REFUSED,
    )
