"""Find out which certificate OpenSSL refused; Python's ``ssl`` only reports the reason.

OpenSSL calls our callback for each certificate of a chain (SSL_CTX_set_verify(3ossl)). The callback
returns OpenSSL's own verdict unchanged, and records a refused certificate for its thread.
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
    """OpenSSL's refusal, with the refused certificate.

    Args:
        error: what Python's ``ssl`` raised.
        link: the certificate; None if OpenSSL did not report it.
        context: the context whose trust anchors were used.
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
        """Whether a CA with the issuer's name is among the trust anchors."""
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
    """Return the issuer's name; None if it cannot be read."""
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
        BridgeUnavailable: the layout of CPython's context is not the known one.
    """
    library, pointer = functions(), context_pointer(context)
    library.SSL_CTX_set_verify(pointer, library.SSL_CTX_get_verify_mode(pointer), _CALLBACK)


def with_certificate(
    error: ssl.SSLCertVerificationError, context: ssl.SSLContext
) -> RefusedCertificateError:
    """Add the refused certificate to an error; call it in the thread that raised the error."""
    link, _noticed.link = _noticed.link, None
    return RefusedCertificateError(error, link, context)


def _notice(accepted: int, store: int) -> int:
    if not accepted:
        try:
            _noticed.link = _link(store)
        except Exception as error:  # noqa: BLE001 - the caller is C code
            _noticed.link = None
            LOG.warning("the refused certificate cannot be read: %s", error)
    return accepted


_CALLBACK = VerifyCallback(_notice)  # kept as long as the process runs


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
    # It writes to where the pointer points, and moves the pointer (i2d_X509(3ossl)).
    place = c_void_p(ctypes.addressof(data))
    size: c_int = library.i2d_X509(certificate, ctypes.byref(place))
    return data.raw[: int(size)]
