"""Details of a certificate's DER (X.690) that OpenSSL checks and cryptography ignores.

This module only gets certificates that are already parsed, so lengths need no check.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_SEQUENCE, _VERSION = 0x30, 0xA0
_EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")  # 1.2.840.10045.2.1: RFC 5480, 2.1.1


@dataclass(frozen=True, slots=True)
class Element:
    """A value in DER.

    Attributes:
        tag: its type.
        content: the bytes of the value.
        whole: tag, length and content.
    """

    tag: int
    content: bytes
    whole: bytes


def elements(data: bytes) -> list[Element]:
    """Split bytes into the values that follow one another."""
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
    """The signed fields from the serial number on, without the version (RFC 5280, 4.1)."""
    (signed,) = elements(certificate.tbs_certificate_bytes)
    fields = elements(signed.content)
    return fields[1:] if fields[0].tag == _VERSION else fields


def algorithms_differ(certificate: x509.Certificate) -> bool:
    """Whether the signed algorithm differs from the algorithm beside the signature.

    They must be the same, including their parameters (RFC 5280, 4.1.1.2).
    """
    (whole,) = elements(certificate.public_bytes(Encoding.DER))
    outside = elements(whole.content)[1]
    return _fields(certificate)[1].whole != outside.whole


def has_explicit_curve(certificate: x509.Certificate) -> bool:
    """Whether its key spells out its curve instead of naming it (RFC 5480, 2.1.1).

    A forged curve might be mistaken for a known one (CVE-2020-0601).
    """
    algorithm = elements(elements(_fields(certificate)[5].content)[0].content)
    named = algorithm[0].content != _EC_PUBLIC_KEY or len(algorithm) < 2
    return not named and algorithm[1].tag == _SEQUENCE


def name_values(name: bytes) -> list[list[tuple[bytes, int, bytes]]]:
    """The field, string type and value of each part of a name (RFC 5280, 4.1.2.4)."""
    (whole,) = elements(name)
    return [
        [(field.content, value.tag, value.content) for field, value in map(_pair, elements(one))]
        for one in (part.content for part in elements(whole.content))
    ]


def _pair(one: Element) -> tuple[Element, Element]:
    field, value = elements(one.content)
    return field, value
