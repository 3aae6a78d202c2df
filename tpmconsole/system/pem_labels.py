"""Says what is in a PEM block, by its label."""

from __future__ import annotations

from enum import StrEnum


class Content(StrEnum):
    """Kinds of content that readers treat differently; the value is its name, with its article."""

    PRIVATE_KEY = "a private key"
    PUBLIC_KEY = "a public key"
    CERTIFICATE = "a certificate"
    TRUSTED_CERTIFICATE = "a certificate in OpenSSL's own form (TRUSTED CERTIFICATE)"
    PKCS7 = "a PKCS#7 bundle"
    PKCS12 = "PKCS#12 (.p12, .pfx): a private key with its certificates"
    REQUEST = "a certificate signing request"
    CRL = "a certificate revocation list"
    OTHER = "something else"


# Label: its content, and a more exact name, if there is one.
_LABELS: dict[str, tuple[Content, str]] = {
    "PRIVATE KEY": (Content.PRIVATE_KEY, "a private key (PKCS#8)"),
    "ENCRYPTED PRIVATE KEY": (Content.PRIVATE_KEY, "an encrypted private key (PKCS#8)"),
    "RSA PRIVATE KEY": (Content.PRIVATE_KEY, "an RSA private key (PKCS#1)"),
    "EC PRIVATE KEY": (Content.PRIVATE_KEY, "an EC private key (SEC 1)"),
    "DSA PRIVATE KEY": (Content.PRIVATE_KEY, "a DSA private key"),
    "OPENSSH PRIVATE KEY": (Content.PRIVATE_KEY, "an OpenSSH private key"),
    "PGP PRIVATE KEY BLOCK": (Content.PRIVATE_KEY, "an OpenPGP private key"),
    "PUBLIC KEY": (Content.PUBLIC_KEY, ""),
    "RSA PUBLIC KEY": (Content.PUBLIC_KEY, "an RSA public key (PKCS#1)"),
    "SSH2 PUBLIC KEY": (Content.PUBLIC_KEY, "an SSH public key"),
    "PGP PUBLIC KEY BLOCK": (Content.PUBLIC_KEY, "an OpenPGP public key"),
    "CERTIFICATE": (Content.CERTIFICATE, ""),
    "X509 CERTIFICATE": (Content.CERTIFICATE, ""),
    "CERTIFICATE CHAIN": (Content.CERTIFICATE, "a chain of certificates"),
    "TRUSTED CERTIFICATE": (Content.TRUSTED_CERTIFICATE, ""),
    "PKCS7": (Content.PKCS7, ""),
    "PKCS #7 SIGNED DATA": (Content.PKCS7, ""),
    "CMS": (Content.PKCS7, "a CMS message"),
    "PKCS12": (Content.PKCS12, ""),
    "CERTIFICATE REQUEST": (Content.REQUEST, ""),
    "NEW CERTIFICATE REQUEST": (Content.REQUEST, ""),
    "X509 CRL": (Content.CRL, ""),
    "EC PARAMETERS": (Content.OTHER, "EC parameters"),
    "DH PARAMETERS": (Content.OTHER, "DH parameters"),
    "TSS KEY BLOB": (Content.OTHER, "a key of a TPM 1.2"),
    "TSS2 KEY BLOB": (
        Content.OTHER,
        "a TSS2 key in the format from before 2019 (TSS2 KEY BLOB)",
    ),
}


def content(label: str) -> Content:
    """What a block contains; an unknown kind of key is recognised by the end of its label."""
    if label in _LABELS:
        return _LABELS[label][0]
    for ending, kind in (("PRIVATE KEY", Content.PRIVATE_KEY), ("PUBLIC KEY", Content.PUBLIC_KEY)):
        if label.endswith(ending):
            return kind
    return Content.OTHER


def described(label: str) -> str | None:
    """The name of a block's content, with its article; None if its label is unknown."""
    known = _LABELS.get(label)
    return known and (known[1] or known[0].value)
