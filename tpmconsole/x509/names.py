"""Read names, extensions and fingerprints from a certificate or a request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from tpmconsole.text import printable

SAN_SHOWN = 100

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

# Short names that RFC 4514 does not define but that are in common use.
_SHORT = {NameOID.EMAIL_ADDRESS: "emailAddress", NameOID.SERIAL_NUMBER: "serialNumber"}

_SAN_KINDS: dict[
    type[x509.DNSName]
    | type[x509.IPAddress]
    | type[x509.UniformResourceIdentifier]
    | type[x509.RFC822Name],
    str,
] = {
    x509.DNSName: "dns",
    x509.IPAddress: "ip",
    x509.UniformResourceIdentifier: "uri",
    x509.RFC822Name: "email",
}

_NETSCAPE_TYPE = ObjectIdentifier("2.16.840.1.113730.1.1")


def name_text(name: x509.Name) -> str:
    """A distinguished name in the form of RFC 4514; ``(no name)`` if it is empty."""
    return printable(name.rfc4514_string(_SHORT)) or "(no name)"


def san_entry(name: x509.GeneralName) -> str:
    """A subject alternative name in the form of a request's ``--san``: ``dns:gateway.local``."""
    for kind, prefix in _SAN_KINDS.items():
        if isinstance(name, kind):
            return printable(f"{prefix}:{name.value}")
    if isinstance(name, x509.DirectoryName):
        return f"dir:{name_text(name.value)}"
    if isinstance(name, x509.RegisteredID):
        return f"rid:{name.value.dotted_string}"
    return "other"


def san_texts(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    """The whole names in the form that a request's ``--san`` accepts, without the kinds that it
    cannot ask for. They are not made safe to show."""
    return tuple(
        f"{prefix}:{name.value}"
        for name in names
        for kind, prefix in _SAN_KINDS.items()
        if isinstance(name, kind)
    )


def san_entries(certificate: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """The first 100 subject alternative names."""
    return tuple(san_entry(name) for name in general_names(certificate)[:SAN_SHOWN])


def general_names(
    certificate: x509.Certificate | x509.CertificateSigningRequest,
) -> list[x509.GeneralName]:
    """The subject alternative names; empty if the extension is missing."""
    return list(extension(certificate, x509.SubjectAlternativeName) or ())


def purposes(
    certificate: x509.Certificate | x509.CertificateSigningRequest,
) -> list[x509.ObjectIdentifier] | None:
    """The extended key usages; None if the extension is missing, which allows all of them."""
    found = extension(certificate, x509.ExtendedKeyUsage)
    return None if found is None else list(found)


def key_usage(
    certificate: x509.Certificate | x509.CertificateSigningRequest,
) -> x509.KeyUsage | None:
    """The key usage; None if the extension is missing, which allows every use."""
    return extension(certificate, x509.KeyUsage)


def basic_constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    """The basic constraints; None if the extension is missing."""
    return extension(certificate, x509.BasicConstraints)


def extension(
    certificate: x509.Certificate | x509.CertificateSigningRequest, kind: type[_Extension]
) -> _Extension | None:
    """An extension's value, or None."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def netscape_type(certificate: x509.Certificate) -> int | None:
    """Netscape's certificate type, which OpenSSL still enforces for end entities; None if missing.

    Its first bits, from the highest: TLS client, TLS server.
    """
    for one in certificate.extensions:
        if one.oid == _NETSCAPE_TYPE and isinstance(one.value, x509.UnrecognizedExtension):
            bits = one.value.value[3:4]  # a BIT STRING: tag, length, unused bits
            return bits[0] if bits else 0
    return None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the whole certificate: 64 lower-case hexadecimal digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def key_bytes(key: PublicKeyTypes) -> bytes:
    """A public key as SubjectPublicKeyInfo in DER: equal keys give equal bytes."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_fingerprint(key: PublicKeyTypes) -> str:
    """SHA-256 of the SubjectPublicKeyInfo in hexadecimal, as openssl and browsers show it."""
    return hashlib.sha256(key_bytes(key)).hexdigest()


def pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """The certificates as PEM, one after another."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
