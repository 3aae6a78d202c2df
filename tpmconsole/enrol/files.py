"""The files that travel between a board and its CA: PEM blocks, versioned.

What is in each block, byte for byte, is in the manual page, so that others can write either side.
All numbers are big-endian; ``TPM2B`` is a length of two bytes and so many bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tpmconsole.enrol.credential import Credential
from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.keyfile.public_area import PublicArea, PublicAreaError
from tpmconsole.x509.as_signed import read_certificate, written
from tpmconsole.x509.bundle import look_inside
from tpmconsole.x509.chain import is_ca

Part = TypeVar("Part")

VERSION = 1
MAX_BYTES = 256 * 1024
_MAX_BLOCKS = 32
_DIGEST = 32  # SHA-256

REQUEST = "CERTIFICATE REQUEST"
KEY = "TPM ATTESTED KEY"
CERTIFICATE = "CERTIFICATE"
SEALED = "TPM SEALED CERTIFICATE"
CHALLENGE = "TPM CHALLENGE"
ANSWER = "TPM CHALLENGE ANSWER"
EXPECTED = "TPM CHALLENGE EXPECTED ANSWER"
# What a file is, by the last of these blocks that is in it.
_WORDS = {
    REQUEST: "a certificate request without anything that proves where its key is",
    CERTIFICATE: "a certificate",
    KEY: "an attested request",
    SEALED: "a sealed certificate",
    CHALLENGE: "a challenge",
    ANSWER: "the answer to a challenge",
    EXPECTED: "what a CA keeps of a challenge",
}
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\s([A-Za-z0-9+/=\s]*)-----END \1-----")


@dataclass(frozen=True, slots=True)
class AttestedRequest:
    """A request, and what shows a CA which key in which chip it is for.

    Attributes:
        request: PKCS #10.
        area: the key's public area.
        certificates: the chip's endorsement certificates.
        chain: CAs of its maker that came with them.
    """

    request: x509.CertificateSigningRequest
    area: PublicArea
    certificates: tuple[x509.Certificate, ...]
    chain: tuple[x509.Certificate, ...] = ()

    def to_pem(self) -> bytes:
        """The file. The request is first: programs that do not know the format read only that."""
        key = struct.pack(">HH", VERSION, len(self.area.encoded)) + self.area.encoded
        blocks = [(REQUEST, self.request.public_bytes(Encoding.DER)), (KEY, key)]
        certificates = (*self.certificates, *self.chain)
        blocks += [(CERTIFICATE, written(one)) for one in certificates]
        return b"".join(armour(*block) for block in blocks)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the request: what an answer is bound to."""
        return hashlib.sha256(self.request.public_bytes(Encoding.DER)).digest()


def read_attested(data: bytes) -> AttestedRequest:
    """The attested request in a file.

    Raises:
        ConsoleError: it is something else, of a later version, or damaged.
    """
    found = blocks(data)
    labels = [label for label, _ in found]
    if labels.count(REQUEST) != 1 or labels.count(KEY) != 1:
        raise _another(labels, KEY, "ask the board for an attested request, and take that file")
    by_label = dict(found)
    reader = _reader(by_label[KEY], KEY)
    encoded = _read(KEY, lambda: reader.sized(0xFFFF, "public area"))
    _check_end(reader, KEY)
    try:
        request = x509.load_der_x509_csr(by_label[REQUEST])
        _ = request.subject, request.extensions, request.public_key()
        area = public_area.decode(encoded)
        area.public_key()
    except PublicAreaError as error:
        raise _damaged(KEY, str(error)) from error
    except Exception as error:  # whatever a reader raises, it is not its format
        raise _damaged(REQUEST, "its ASN.1 does not decode") from error
    certificates = [_certificate(body) for label, body in found if label == CERTIFICATE]
    own = tuple(one for one in certificates if not is_ca(one))
    return AttestedRequest(request, area, own, tuple(one for one in certificates if is_ca(one)))


def is_attested(data: bytes) -> bool:
    """Whether a file is an attested request, and not a plain one."""
    return f"BEGIN {KEY}-".encode() in data


@dataclass(frozen=True, slots=True)
class Envelope:
    """A secret for one key in one chip: all of a challenge, and the head of a sealed file.

    Attributes:
        name: the key's Name.
        endorsement: SHA-256 of the endorsement key's SubjectPublicKeyInfo.
        credential: the secret.
    """

    name: bytes
    endorsement: bytes
    credential: Credential

    def encoded(self) -> bytes:
        """Its bytes."""
        head = struct.pack(">HH", VERSION, len(self.name)) + self.name + self.endorsement
        return head + self.credential.blob + self.credential.secret


@dataclass(frozen=True, slots=True)
class SealedCertificate:
    """A certificate that one key in one chip can open.

    Attributes:
        envelope: the AES-256-GCM key.
        nonce: of the encryption.
        encrypted: the certificates, PEM, and the tag.
    """

    envelope: Envelope
    nonce: bytes
    encrypted: bytes

    @property
    def head(self) -> bytes:
        """What the tag vouches for besides the certificates."""
        return self.envelope.encoded() + self.nonce

    def to_pem(self) -> bytes:
        """The file."""
        return armour(SEALED, self.head + self.encrypted)


NONCE_BYTES = 12


def read_sealed(data: bytes) -> SealedCertificate:
    """The sealed certificate in a file.

    Raises:
        ConsoleError: it is something else, of a later version, or damaged.
    """
    reader, envelope = _envelope(data, SEALED)
    nonce = _read(SEALED, lambda: reader.take(NONCE_BYTES))
    return SealedCertificate(envelope, nonce, reader.take(reader.left))


def is_sealed(data: bytes) -> bool:
    """Whether a file is a sealed certificate."""
    return f"BEGIN {SEALED}-".encode() in data


def read_challenge(data: bytes) -> Envelope:
    """The challenge in a file.

    Raises:
        ConsoleError: it is something else, of a later version, or damaged.
    """
    reader, envelope = _envelope(data, CHALLENGE)
    _check_end(reader, CHALLENGE)
    return envelope


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a challenge, or what a CA expects as one; they are the same bytes.

    Attributes:
        request: SHA-256 of the request.
        proof: HMAC-SHA256 by the challenge's secret.
    """

    request: bytes
    proof: bytes

    def to_pem(self, label: str = ANSWER) -> bytes:
        """The file."""
        return armour(label, struct.pack(">H", VERSION) + self.request + self.proof)


def read_answer(data: bytes, label: str = ANSWER) -> Answer:
    """The answer in a file.

    Args:
        label: ``ANSWER``, or ``EXPECTED`` for what the CA kept.

    Raises:
        ConsoleError: it is something else, of a later version, or damaged.
    """
    reader = _reader(_only(data, label), label)
    request, proof = _read(label, lambda: (reader.take(_DIGEST), reader.take(_DIGEST)))
    _check_end(reader, label)
    return Answer(request, proof)


# PEM


def armour(label: str, body: bytes) -> bytes:
    """A PEM block (RFC 7468)."""
    coded = base64.b64encode(body).decode("ascii")
    lines = [coded[at : at + 64] for at in range(0, len(coded), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def blocks(data: bytes) -> list[tuple[str, bytes]]:
    """The blocks of a file, in its order; text around them is skipped.

    Raises:
        ConsoleError: it is too large, or a block is damaged.
    """
    if len(data) > MAX_BYTES:
        raise _unreadable(f"it has more than {MAX_BYTES} bytes", "check that it is the right file")
    begun = data.count(b"-----BEGIN ")
    if begun > _MAX_BLOCKS:
        raise _unreadable(
            f"it has more than {_MAX_BLOCKS} blocks", "check that it is the right file"
        )
    found = list(_blocks(data))
    if len(found) < begun:
        raise _unreadable(
            "a block in it begins, and is damaged or cut off", "copy the file again, all of it"
        )
    return found


def _blocks(data: bytes) -> Iterator[tuple[str, bytes]]:
    for block in _PEM.finditer(data):
        label = block[1].decode("ascii")
        try:
            yield label, base64.b64decode(b"".join(block[2].split()), validate=True)
        except ValueError as error:
            raise _damaged(label, "its base64 is not whole") from error


def _envelope(data: bytes, label: str) -> tuple[public_area.Reader, Envelope]:
    reader = _reader(_only(data, label), label)

    def read() -> Envelope:
        name, endorsement = reader.sized(66, "Name"), reader.take(_DIGEST)
        blob, secret = (_again_sized(reader.sized(0x1000, "credential")) for _ in range(2))
        return Envelope(name, endorsement, Credential(blob, secret))

    return reader, _read(label, read)


def _again_sized(body: bytes) -> bytes:
    return struct.pack(">H", len(body)) + body


def _only(data: bytes, label: str) -> bytes:
    found = blocks(data)
    labels = [one for one, _ in found]
    if labels.count(label) != 1:
        raise _another(labels, label, "take the file that the other side has made for this")
    return dict(found)[label]


def _reader(body: bytes, label: str) -> public_area.Reader:
    reader = public_area.Reader(body)
    version = _read(label, reader.u16)
    if version != VERSION:
        raise _unreadable(
            f"{_WORDS[label]} of version {version}; this program reads version {VERSION}",
            "use a tpmconsole of the same age on both sides",
        )
    return reader


def _read(label: str, read: Callable[[], Part]) -> Part:
    """A part of a block.

    Raises:
        ConsoleError: the block ends in it.
    """
    try:
        return read()
    except PublicAreaError as error:
        raise _damaged(label, str(error)) from error


def _check_end(reader: public_area.Reader, label: str) -> None:
    if reader.left:
        raise _damaged(label, f"{reader.left} bytes are left over at its end")


def _certificate(der: bytes) -> x509.Certificate:
    try:
        found = read_certificate(der)
    except ValueError as error:
        raise _damaged(CERTIFICATE, "its ASN.1 does not decode") from error
    look_inside(found, "the endorsement certificate")
    return found


def _another(labels: list[str], wanted: str, remedy: str) -> ConsoleError:
    if labels.count(wanted) > 1 or labels.count(REQUEST) > 1:
        return _unreadable("it holds more than one of them", remedy)
    kinds = [label for label in _WORDS if label in labels]
    what = _WORDS[kinds[-1]] if kinds else "no block of any kind that is known here"
    return _unreadable(f"it holds {what}, and not {_WORDS[wanted]}", remedy)


def _damaged(label: str, why: str) -> ConsoleError:
    return _unreadable(f"{label} in it is damaged: {why}", "copy the file again, all of it")


def _unreadable(cause: str, remedy: str) -> ConsoleError:
    return ConsoleError("File not read", cause, remedy)
