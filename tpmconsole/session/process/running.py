"""What client and server share while a session runs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.session.process.prepare import Ready
from tpmconsole.session.process.recorder import Recorder
from tpmconsole.session.process.signing_thread import SigningThread
from tpmconsole.session.spec import SessionSpec
from tpmconsole.session.tls.engine import PROVIDER
from tpmconsole.session.tls.errors import explain, renegotiation_refused
from tpmconsole.session.tls.peer import Peer
from tpmconsole.session.tls.provider import GOOD_SINCE, version_numbers
from tpmconsole.session.tls.verification import BAD_SIGNATURE

if TYPE_CHECKING:
    from tpmconsole.session.process.tls_stream import TlsStream

HANDSHAKE_S = 30.0  # a slow chip needs a second or two for an RSA signature, and others may queue


@dataclass(slots=True)
class Running:
    """A running session.

    Attributes:
        ready: what new connections use; open ones keep what they began with.
    """

    spec: SessionSpec
    ready: Ready
    thread: SigningThread
    live: Recorder

    def peer(self, address: str) -> Peer:
        """Return the peer at an address."""
        who = "client" if self.spec.role == "server" else "server"
        return Peer(who, address, self.ready.chain)

    def explain(
        self, error: BaseException, peer: Peer, stream: TlsStream | None = None
    ) -> ConsoleError:
        """Return the error that explains to a user what went wrong with a peer.

        Args:
            stream: the connection, after its handshake.
        """
        if stream is not None and stream.is_asked_anew:
            return renegotiation_refused(peer)
        choice = self.ready.choice
        if (
            choice.name == PROVIDER
            and isinstance(error, ssl.SSLCertVerificationError)
            and error.verify_code == BAD_SIGNATURE
            and version_numbers(choice.module_version or "") < GOOD_SINCE
        ):
            return ConsoleError(
                "Peer not verified",
                f"{peer}: tpm2-openssl {choice.module_version} verifies its certificates in the "
                "TPM, which lacks their algorithm or is full",
                NextStep(Action.USE_ENGINE, "bridge", "use {}, which verifies in software"),
            )
        return explain(error, peer)
