"""Lists of revoked certificates (CRLs, RFC 5280, 5): peers on such a list are refused."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.session.events import plain
from tpmconsole.session.status import CrlInfo
from tpmconsole.system.files import read_bounded

log = logging.getLogger(__name__)

CRL_BYTES = 32 * 1024 * 1024
_BEGIN, _END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"
FETCH = NextStep(Action.RELOAD, text="fetch a new one from its CA, then reload the session ({})")


@dataclass(frozen=True, slots=True)
class RevocationLists:
    """The lists in a file."""

    path: Path
    lists: tuple[x509.CertificateRevocationList, ...]

    @classmethod
    def read(cls, path: Path) -> RevocationLists:
        """Read the lists in a file, PEM or DER.

        Raises:
            ConsoleError: it cannot be read, or contains no list.
        """
        data = read_bounded(path, CRL_BYTES)
        try:
            if _BEGIN not in data:
                return cls(path, (x509.load_der_x509_crl(data),))
            blocks = [_BEGIN + rest.partition(_END)[0] + _END for rest in data.split(_BEGIN)[1:]]
            return cls(path, tuple(x509.load_pem_x509_crl(block) for block in blocks))
        except ValueError as error:
            raise ConsoleError(
                "Revocation list not loaded",
                f"{path} has no readable certificate revocation list (CRL)",
                "give the CA's CRL, PEM or DER",
            ) from error

    def first_to_end(self) -> CrlInfo | None:
        """Return the list that expires first; None if none of them ever expires."""
        ending = [(one.next_update_utc, one) for one in self.lists if one.next_update_utc]
        if not ending:
            return None
        end, one = min(ending, key=lambda pair: pair[0])
        issuer = plain(one.issuer.rfc4514_string())
        return CrlInfo(issuer, one.last_update_utc.isoformat(), end.isoformat())

    def demand(self, context: ssl.SSLContext) -> None:
        """Make a context refuse every peer whose certificate a list revokes.

        It also refuses a peer whose issuer has no list here, or an expired one: the peer may have
        been revoked. If all trust anchors are roots and each of them has a list, the intermediates
        between a peer and its root are checked as well; otherwise only the peer's own certificate.
        OpenSSL would also look for a list about an intermediate that is itself an anchor, and could
        never verify it.

        Args:
            context: must already have its trust anchors.

        Raises:
            ConsoleError: a list has already expired, or OpenSSL refuses one.
        """
        for one in self.lists:
            end = one.next_update_utc
            if end is not None and end < datetime.now(UTC):
                raise ConsoleError(
                    "Revocation list expired",
                    f"{self.path}: the list of {one.issuer.rfc4514_string()} expired "
                    f"{end:%Y-%m-%d}; with it every peer would be refused",
                    FETCH,
                )
        whole = _whole_chain(context, self.lists)
        # A file that is only in memory: OpenSSL reads PEM, and needs a path.
        descriptor = os.memfd_create("revoked")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.writelines(one.public_bytes(Encoding.PEM) for one in self.lists)
            context.load_verify_locations(f"/proc/self/fd/{descriptor}")
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).replace("_", " ").lower()
            raise ConsoleError(
                "Revocation list not loaded", f"OpenSSL refuses {self.path}: {reason}", FETCH
            ) from error
        finally:
            os.close(descriptor)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN if whole else ssl.VERIFY_CRL_CHECK_LEAF
        log.info(
            "revocation is checked for %s", "whole chains" if whole else "peers' certificates only"
        )


def _whole_chain(context: ssl.SSLContext, lists: Sequence[x509.CertificateRevocationList]) -> bool:
    """Whether every trust anchor is a root and has a list."""
    issuers = {one.issuer.public_bytes() for one in lists}
    anchors = [x509.load_der_x509_certificate(der) for der in context.get_ca_certs(True)]
    roots = [one.subject.public_bytes() for one in anchors if one.subject == one.issuer]
    return bool(roots) and len(roots) == len(anchors) and issuers.issuperset(roots)
