"""What cryptography reads over and OpenSSL does not: how a certificate is written, in DER (X.690).

Only certificates that have been parsed already come here, so lengths are taken as they stand.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_SEQUENCE, _VERSION = 0x30, 0xA0
_EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")  # 1.2.840.10045.2.1: RFC 5480, 2.1.1


@dataclass(frozen=True, slots=True)
class Element:
    """One value: its tag, its content, and both with the length between them."""

    tag: int
    content: bytes
    whole: bytes


def elements(data: bytes) -> list[Element]:
    """The values that stand one after the other."""
    found, at = [], 0
    while at < len(data):
        begin, length = at + 2, data[at + 1]
        if length & 0x80:  # the long form: X.690, 8.1.3.5
            begin += length & 0x7F
            length = int.from_bytes(data[at + 2 : begin], "big")
        found.append(Element(data[at], data[begin : begin + length], data[at : begin + length]))
        at = begin + length
    return found


def _fields(certificate: x509.Certificate) -> list[Element]:
    """The serial number, the signature's algorithm and so on (RFC 5280, 4.1), without version."""
    (signed,) = elements(certificate.tbs_certificate_bytes)
    fields = elements(signed.content)
    return fields[1:] if fields[0].tag == _VERSION else fields


def algorithms_differ(certificate: x509.Certificate) -> bool:
    """Whether the algorithm that was signed is another than the one beside the signature.

    They have to be the same, parameters included (RFC 5280, 4.1.1.2).
    """
    (whole,) = elements(certificate.public_bytes(Encoding.DER))
    outside = elements(whole.content)[1]
    return _fields(certificate)[1].whole != outside.whole


def has_explicit_curve(certificate: x509.Certificate) -> bool:
    """Whether its key spells its curve out where it has to name it (RFC 5480, 2.1.1).

    A curve that somebody made up may pass for a known one (CVE-2020-0601).
    """
    algorithm = elements(elements(_fields(certificate)[5].content)[0].content)
    named = algorithm[0].content != _EC_PUBLIC_KEY or len(algorithm) < 2
    return not named and algorithm[1].tag == _SEQUENCE


def name_values(name: bytes) -> list[list[tuple[bytes, int, bytes]]]:
    """Field, string type and value of all that a distinguished name holds (RFC 5280, 4.1.2.4)."""
    (whole,) = elements(name)
    return [
        [(field.content, value.tag, value.content) for field, value in map(_pair, elements(one))]
        for one in (part.content for part in elements(whole.content))
    ]


def _pair(one: Element) -> tuple[Element, Element]:
    field, value = elements(one.content)
    return field, value
