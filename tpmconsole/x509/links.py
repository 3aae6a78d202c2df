"""Decide whether one certificate issued another, by OpenSSL's rules for finding an issuer.

OpenSSL compares names, then the authority key identifier, then the signature. If the second step
fails, it reports that there is no issuer: "unable to get local issuer certificate", its error 20.
"""

from __future__ import annotations

import re
from functools import lru_cache
from string import ascii_uppercase

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from tpmconsole.x509 import der
from tpmconsole.x509.as_signed import signed_bytes
from tpmconsole.x509.names import extension

_UNSUPPORTED = (ValueError, TypeError, UnsupportedAlgorithm)

# X.680, 8.4: the string types that OpenSSL normalizes before comparing (its ASN1_MASK_CANON).
_ENCODINGS = {
    0x0C: "utf-8",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
_BLANKS = re.compile(r"[ \t\n\v\f\r]+")
_CAPITALS = {ord(one): one.lower() for one in ascii_uppercase}

_SHA3 = (hashes.SHA3_224, hashes.SHA3_256, hashes.SHA3_384, hashes.SHA3_512)

_Value = tuple[bytes, int, bytes | str]


def folded(name: x509.Name) -> tuple[frozenset[_Value], ...]:
    """Normalize a name so that only what RFC 5280, 7.1 compares is left: without string types, in
    lower case (ASCII), and without spaces at the ends or repeated spaces within."""
    return _folded(name.public_bytes())


@lru_cache(maxsize=256)  # a search compares the same few names again and again
def _folded(name: bytes) -> tuple[frozenset[_Value], ...]:
    return tuple(frozenset(_value(*one) for one in part) for part in der.name_values(name))


def _value(field: bytes, tag: int, value: bytes) -> _Value:
    if tag not in _ENCODINGS:
        return field, tag, value
    text = value.decode(_ENCODINGS[tag], "backslashreplace")
    return field, 0, _BLANKS.sub(" ", text).strip(" ").translate(_CAPITALS)


def same_name(one: x509.Name, other: x509.Name) -> bool:
    """Whether two names are equal for OpenSSL."""
    return folded(one) == folded(other)


def same_bytes(one: x509.Name, other: x509.Name) -> bool:
    """Whether two names are equal for programs that compare them byte by byte, such as Go."""
    return one.public_bytes() == other.public_bytes()


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Whether it names itself as its issuer, regardless of the key (RFC 5280, 3.2)."""
    return same_name(certificate.subject, certificate.issuer)


def names_another_key(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the child's authority key identifier does not match the issuer's certificate.

    RFC 5280, 4.2.1.1: it names the issuer's subject key identifier, or the issuer and serial number
    of the issuer's certificate. What either certificate leaves out is not compared.
    """
    named = extension(child, x509.AuthorityKeyIdentifier)
    if named is None:
        return False
    own = extension(issuer, x509.SubjectKeyIdentifier)
    if named.key_identifier is not None and own and own.digest != named.key_identifier:
        return True
    serial = named.authority_cert_serial_number
    if serial is not None and serial != issuer.serial_number:
        return True
    names = named.authority_cert_issuer or ()
    above = [one.value for one in names if isinstance(one, x509.DirectoryName)]
    return bool(above) and not same_name(above[0], issuer.issuer)


def is_signed_by(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and key match the child's issuer and signature."""
    if not same_name(child.issuer, issuer.subject):
        return False
    if broken_hash(child):
        # Signatures with a broken hash are no longer verified, so only the name counts: an old root
        # is still a root, and any other such certificate is refused because of its hash.
        return True
    try:
        _verify(child, issuer)
    except (InvalidSignature, *_UNSUPPORTED):
        return False
    return True


def _verify(child: x509.Certificate, issuer: x509.Certificate) -> None:
    """Verify the child's signature with the issuer's key.

    cryptography's ``verify_directly_issued_by`` cannot be used: it compares names byte by byte.
    """
    if der.algorithms_differ(child):
        raise InvalidSignature
    key, how = issuer.public_key(), child.signature_algorithm_parameters
    signature, signed = child.signature, signed_bytes(child)
    algorithm = child.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
        if not isinstance(how, (padding.PKCS1v15, padding.PSS)):
            raise InvalidSignature
        key.verify(signature, signed, how, algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(how, ec.ECDSA):
        key.verify(signature, signed, how)
    elif isinstance(key, dsa.DSAPublicKey) and algorithm is not None and how is None:
        key.verify(signature, signed, algorithm)
    elif isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)) and algorithm is None:
        key.verify(signature, signed)
    else:  # the signature is not of the key's kind
        raise InvalidSignature


def broken_hash(certificate: x509.Certificate) -> str | None:
    """The hash of the certificate's signature if that hash is broken, else None."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    return algorithm.name.upper() if isinstance(algorithm, (hashes.MD5, hashes.SHA1)) else None


def unknown_hash(certificate: x509.Certificate) -> str | None:
    """The hash of an ECDSA signature if OpenSSL 3.0 cannot verify it (SHA-3), else None.

    TLS has no name for it (RFC 8446, 4.2.3). With RSA, OpenSSL accepts SHA-3.
    """
    try:
        algorithm = certificate.signature_hash_algorithm
        elliptic = isinstance(certificate.signature_algorithm_parameters, ec.ECDSA)
    except _UNSUPPORTED:
        return None
    return algorithm.name.upper() if elliptic and isinstance(algorithm, _SHA3) else None


def looks_self_signed(certificate: x509.Certificate) -> bool:
    """Whether OpenSSL treats it as a root (its EXFLAG_SS): by name, key identifier, kind of key.

    OpenSSL does not verify the signature for this: a CA certificate that renews its own name
    without key identifiers also looks like a root.
    """
    if not is_self_issued(certificate) or names_another_key(certificate, certificate):
        return False
    try:
        how = certificate.signature_algorithm_parameters
    except _UNSUPPORTED:
        return True
    key = certificate.public_key()
    if isinstance(how, ec.ECDSA):
        return isinstance(key, ec.EllipticCurvePublicKey)
    if isinstance(how, (padding.PKCS1v15, padding.PSS)):
        return isinstance(key, rsa.RSAPublicKey)
    return True


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether it was signed with its own key and does not name another, as for a root."""
    another = names_another_key(certificate, certificate)
    return not another and is_signed_by(certificate, certificate)
