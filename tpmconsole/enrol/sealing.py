"""A certificate that only one key in one chip can open, and a question that only it can answer.

Opening one proves that the key is in the chip: TPM2_ActivateCredential gives the secret
only to it. Sealing takes one trip, but the CA has issued the certificate before it knows; a CA that
publishes what it issues asks first, by a challenge, and issues after the answer.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tpmconsole.enrol.credential import EndorsementPublicKey, make_credential
from tpmconsole.enrol.files import (
    ANSWER,
    CHALLENGE,
    NONCE_BYTES,
    Answer,
    AttestedRequest,
    Envelope,
    SealedCertificate,
    armour,
)
from tpmconsole.errors import ConsoleError
from tpmconsole.x509.names import key_fingerprint

SECRET_BYTES = 32
Open = Callable[[Envelope], bytes]


def seal(
    attested: AttestedRequest, endorsement: EndorsementPublicKey, certificates: bytes
) -> SealedCertificate:
    """Encrypt certificates for the key of an attested request, in the chip that has it.

    Args:
        endorsement: the chip's endorsement key, which was judged.
        certificates: PEM, the key's own first.
    """
    envelope, secret = _envelope(attested, endorsement)
    nonce = os.urandom(NONCE_BYTES)
    sealed = SealedCertificate(envelope, nonce, b"")
    encrypted = AESGCM(secret).encrypt(nonce, certificates, sealed.head)
    return SealedCertificate(envelope, nonce, encrypted)


def unseal(sealed: SealedCertificate, open_envelope: Open) -> bytes:
    """The certificates, PEM.

    Args:
        open_envelope: lets the TPM open the secret.

    Raises:
        ConsoleError: what ``open_envelope`` raises; or the file was changed on its way.
    """
    secret = open_envelope(sealed.envelope)
    try:
        return AESGCM(secret).decrypt(sealed.nonce, sealed.encrypted, sealed.head)
    except (InvalidTag, ValueError) as error:
        raise ConsoleError(
            "Sealed file damaged",
            "the TPM opened it, but what is in it was changed on its way",
            "copy the file again, or ask the CA for it again",
        ) from error


@dataclass(frozen=True, slots=True)
class Challenge:
    """A question to a board.

    Attributes:
        pem: what the board gets.
        expected: what only that board's answer will be; the CA keeps it to itself.
    """

    pem: bytes
    expected: Answer


def challenge(attested: AttestedRequest, endorsement: EndorsementPublicKey) -> Challenge:
    """Make a question that only the key of an attested request, in its chip, can answer."""
    envelope, secret = _envelope(attested, endorsement)
    return Challenge(armour(CHALLENGE, envelope.encoded()), _answer(attested.digest, secret))


def answer(request_digest: bytes, envelope: Envelope, open_envelope: Open) -> Answer:
    """The answer to a challenge.

    Args:
        request_digest: SHA-256 of the request that the challenge was made for.
        open_envelope: lets the TPM open the secret.

    Raises:
        ConsoleError: what ``open_envelope`` raises.
    """
    return _answer(request_digest, open_envelope(envelope))


def is_answer(given: Answer, expected: Answer) -> bool:
    """Whether a board has answered the challenge."""
    return given.request == expected.request and hmac.compare_digest(given.proof, expected.proof)


def _answer(request_digest: bytes, secret: bytes) -> Answer:
    proof = hmac.digest(secret, ANSWER.encode() + b"\0" + request_digest, "sha256")
    return Answer(request_digest, proof)


def _envelope(
    attested: AttestedRequest, endorsement: EndorsementPublicKey
) -> tuple[Envelope, bytes]:
    secret = os.urandom(SECRET_BYTES)
    name = attested.area.name
    credential = make_credential(endorsement, name, secret)
    return Envelope(name, bytes.fromhex(key_fingerprint(endorsement)), credential), secret
