"""Describe a certificate in a sentence; text that a peer chose is cut and made printable."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tpmconsole.text import printable

_NAME_LENGTH = 80
_FINGERPRINT_BYTES = 8
_SERIAL_DIGITS = 40  # RFC 5280, 4.1.2.2: at most 20 octets
_MOST_NAMES = 6


def identified(certificate: x509.Certificate) -> str:
    """Return subject, issuer, serial number, dates and the start of the SHA-256."""
    digest = certificate.fingerprint(hashes.SHA256())[:_FINGERPRINT_BYTES].hex()
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    serial = printable(f"{certificate.serial_number:x}", _SERIAL_DIGITS)
    return (
        f"{subject(certificate)}, issued by {issuer(certificate)}, serial {serial}, "
        f"{begin:%Y-%m-%d} to {end:%Y-%m-%d}, SHA-256 {digest}..."
    )


def subject(certificate: x509.Certificate) -> str:
    """Return the subject's name."""
    return _name(certificate, "subject")


def issuer(certificate: x509.Certificate) -> str:
    """Return the issuer's name."""
    return _name(certificate, "issuer")


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Whether its subject and issuer are the same, as in a root's certificate."""
    try:
        return certificate.subject == certificate.issuer
    except (ValueError, TypeError):
        return False


def alternative_names(certificate: x509.Certificate) -> str:
    """Return the first few alternative names; empty if there are none."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return ""
    texts = [_alternative(one) for one in found]
    more = len(texts) - _MOST_NAMES
    return ", ".join(texts[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def serves(certificate: x509.Certificate, role: str) -> bool:
    """Whether its extended key usages, if it has any, allow a role: ``client`` or ``server``."""
    wanted = {
        "client": ExtendedKeyUsageOID.CLIENT_AUTH,
        "server": ExtendedKeyUsageOID.SERVER_AUTH,
    }[role]
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return True
    return wanted in found or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in found


def key_kind(certificate: x509.Certificate) -> str:
    """Return the kind of its key, such as ``EC secp256r1`` or ``RSA 2048``."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__


def _name(certificate: x509.Certificate, which: str) -> str:
    try:  # the name is decoded only here
        name: x509.Name = getattr(certificate, which)
    except (ValueError, TypeError):
        return "a name that cannot be read"
    return printable(name.rfc4514_string(), _NAME_LENGTH) or "an empty name"


def _alternative(name: x509.GeneralName) -> str:
    kinds: dict[type[x509.GeneralName], str] = {
        x509.DNSName: "DNS",
        x509.IPAddress: "IP",
        x509.UniformResourceIdentifier: "URI",
        x509.RFC822Name: "e-mail",
    }
    kind = kinds.get(type(name))
    if kind is None:
        return "a name of another kind"
    return f"{kind} {printable(str(name.value), _NAME_LENGTH)}"
