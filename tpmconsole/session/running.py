"""What client and server share while a session runs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from tpmconsole.errors import ConsoleError
from tpmconsole.session.causes import Peer, explain
from tpmconsole.session.engine import PROVIDER
from tpmconsole.session.live import Live
from tpmconsole.session.model import SessionSpec
from tpmconsole.session.provider import GOOD_SINCE, version_numbers
from tpmconsole.session.signing import SigningThread
from tpmconsole.session.tls import Engine

HANDSHAKE_S = 30.0  # a slow chip needs a second or two for an RSA signature, and others may wait
BAD_SIGNATURE = 7  # X509_V_ERR_CERT_SIGNATURE_FAILURE


@dataclass(frozen=True, slots=True)
class Running:
    """A session at work.

    Attributes:
        context: ours, with certificate and key.
        module_version: of tpm2-openssl.
    """

    spec: SessionSpec
    context: ssl.SSLContext
    engine: Engine
    engine_name: str
    module_version: str | None
    thread: SigningThread
    live: Live

    def explain(self, error: BaseException, peer: Peer) -> ConsoleError:
        """What went wrong with a peer, for people."""
        if (
            self.engine_name == PROVIDER
            and isinstance(error, ssl.SSLCertVerificationError)
            and error.verify_code == BAD_SIGNATURE
            and version_numbers(self.module_version or "") < GOOD_SINCE
        ):
            return ConsoleError(
                "Peer not verified",
                f"{peer}: tpm2-openssl {self.module_version} verifies its certificates in the TPM, "
                "which lacks their algorithm or has no room",
                "use --engine bridge, which verifies in software",
            )
        return explain(error, peer)
