"""The request and the certificate that an identity keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cryptography import x509

from tpmconsole.errors import ConsoleError
from tpmconsole.identity.identity import CERTIFICATE_BYTES, Identity
from tpmconsole.system.files import read_bounded
from tpmconsole.x509.bundle import read_bundle

REQUEST_BYTES = 64 * 1024

Kept = TypeVar("Kept")


def kept_request(identity: Identity) -> x509.CertificateSigningRequest | None:
    """The last request; None before the first.

    Raises:
        ConsoleError: its file is damaged or cannot be read.
    """
    if not identity.has_request:
        return None
    try:
        return x509.load_pem_x509_csr(read_bounded(identity.request, REQUEST_BYTES))
    except ValueError as error:
        raise ConsoleError(
            "Request damaged",
            f"{identity.request} is no request any more",
            f"make it again: tpmconsole request {identity.name}",
        ) from error


def kept_certificate(identity: Identity) -> x509.Certificate | None:
    """The installed certificate; None where there is none.

    Raises:
        ConsoleError: its file is damaged or cannot be read.
    """
    if not identity.has_certificate:
        return None
    return read_bundle(read_bounded(identity.certificate, CERTIFICATE_BYTES))[0]


def unless_damaged(read: Callable[[], Kept | None]) -> Kept | None:
    """What is kept, or None: a damaged file must not keep out what would replace it."""
    try:
        return read()
    except ConsoleError:
        return None
