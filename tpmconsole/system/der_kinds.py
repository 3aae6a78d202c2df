"""Identifies DER, which has no label, by the PEM label that it would have."""

from __future__ import annotations

from collections.abc import Callable

ID_PKCS7 = bytes.fromhex("06 09 2a 86 48 86 f7 0d 01 07")  # and a byte that says which one


def is_pkcs12(data: bytes) -> bool:
    """PFX ::= SEQUENCE { version INTEGER (3), … (RFC 7292, 4): after the length, 02 01 03."""
    return data[:1] == b"0" and b"\x02\x01\x03" in data[2:9]


def label_of(der: bytes) -> str | None:
    """The label; None if it is not known here. Imports cryptography."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    if is_pkcs12(der):
        return "PKCS12"
    if 0 < der.find(ID_PKCS7, 0, 24) < len(der) - len(ID_PKCS7):
        return "PKCS7"
    readers: tuple[tuple[Callable[[bytes], object], str], ...] = (
        (x509.load_der_x509_certificate, "CERTIFICATE"),
        (x509.load_der_x509_csr, "CERTIFICATE REQUEST"),
        (x509.load_der_x509_crl, "X509 CRL"),
        (serialization.load_der_public_key, "PUBLIC KEY"),
        (_load_private_key, "PRIVATE KEY"),
    )
    for read, label in readers:
        try:
            read(der)
        except TypeError:  # cryptography: a password is needed
            return "ENCRYPTED PRIVATE KEY"
        except Exception:  # noqa: BLE001, S112 - any exception: it is not in the reader's format
            continue
        return label
    return None


def _load_private_key(der: bytes) -> object:
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    # Checking the consistency of an RSA key from elsewhere can take seconds.
    return load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
