"""Finds out which certificate OpenSSL refused; Python's ``ssl`` only reports the reason.

OpenSSL calls a callback of ours for each certificate of a chain (SSL_CTX_set_verify(3ossl)). The
callback returns OpenSSL's own verdict unchanged, and records a refused certificate for its thread.
"""

from __future__ import annotations

import ctypes
import logging
import ssl
import threading
from ctypes import c_int, c_void_p
from dataclasses import dataclass

from cryptography import x509

from tpmconsole.session.tls.openssl import VerifyCallback, context_pointer, functions

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """The certificate at which a verification ended.

    Attributes:
        depth: 0 for the peer's own certificate, 1 for the one that issued it, and so on.
        sent: how many certificates the peer sent, its own among them.
    """

    certificate: x509.Certificate
    depth: int
    sent: int


class RefusedCertificateError(ssl.SSLCertVerificationError):
    """OpenSSL's refusal with the certificate that it is about.

    Args:
        error: what Python's ``ssl`` raised.
        link: the certificate; None if OpenSSL could not be asked.
        context: its trust anchors were used.
    """

    def __init__(
        self, error: ssl.SSLCertVerificationError, link: Link | None, context: ssl.SSLContext
    ) -> None:
        super().__init__(*error.args)
        self.reason, self.library = error.reason, error.library
        self.verify_code, self.verify_message = error.verify_code, error.verify_message
        self.link = link
        self._context = context

    def is_issuer_trusted(self) -> bool:
        """Whether a CA of the issuer's name is among the trust anchors."""
        name = None if self.link is None else issuer_name(self.link.certificate)
        if name is None:
            return False
        for der in self._context.get_ca_certs(binary_form=True):
            try:
                if x509.load_der_x509_certificate(der).subject == name:
                    return True
            except ValueError:  # OpenSSL reads more than we do
                continue
        return False


def issuer_name(certificate: x509.Certificate) -> x509.Name | None:
    """The issuer's name; None if it cannot be read."""
    try:
        return certificate.issuer
    except (ValueError, TypeError):
        return None


class _Noticed(threading.local):
    link: Link | None = None


_noticed = _Noticed()


def notice_refusals(context: ssl.SSLContext) -> None:
    """Record the certificate at which a verification in this context ends.

    Raises:
        BridgeUnavailable: the context's inside is not as CPython's is known to be.
    """
    library, pointer = functions(), context_pointer(context)
    library.SSL_CTX_set_verify(pointer, library.SSL_CTX_get_verify_mode(pointer), _CALLBACK)


def with_certificate(
    error: ssl.SSLCertVerificationError, context: ssl.SSLContext
) -> RefusedCertificateError:
    """An error with the certificate that it is about; in the thread in which it was raised."""
    link, _noticed.link = _noticed.link, None
    return RefusedCertificateError(error, link, context)


def _notice(accepted: int, store: int) -> int:
    if not accepted:
        try:
            _noticed.link = _link(store)
        except Exception as error:  # noqa: BLE001 - there is C on the other side
            _noticed.link = None
            LOG.warning("the refused certificate cannot be read: %s", error)
    return accepted


_CALLBACK = VerifyCallback(_notice)  # for as long as the process lives


def _link(store: int) -> Link | None:
    library = functions()
    certificate = library.X509_STORE_CTX_get_current_cert(store)
    if not certificate:
        return None
    sent = library.X509_STORE_CTX_get0_untrusted(store)
    return Link(
        x509.load_der_x509_certificate(_der(certificate)),
        library.X509_STORE_CTX_get_error_depth(store),
        library.OPENSSL_sk_num(sent) if sent else 0,
    )


def _der(certificate: int) -> bytes:
    library = functions()
    data = ctypes.create_string_buffer(library.i2d_X509(certificate, None))
    # It writes where the pointer points to, and moves the pointer (i2d_X509(3ossl)).
    place = c_void_p(ctypes.addressof(data))
    size: c_int = library.i2d_X509(certificate, ctypes.byref(place))
    return data.raw[: int(size)]
