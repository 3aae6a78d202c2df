"""What the tests of keys have in common."""

from __future__ import annotations

from cryptography import x509

from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import KeyRef

HANDLE = 0x81000010
REQUEST = x509.CertificateSigningRequestBuilder().subject_name(
    x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "board")])
)


def answer(tpm: Tpm, pem: bytes, password: bytes | None = None) -> str:
    return tpm.check_key(KeyRef(pem), Auth(password)).answer


def tries(tpm: Tpm) -> int:
    lockout = tpm.health().lockout
    assert lockout
    return lockout.failed_tries
