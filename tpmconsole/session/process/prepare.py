"""Prepare and check key, certificate and engine, in a session's own process.

This happens at the start, when the certificate has changed, and when OpenSSL's provider has lost
the key. All of it may wait for the TPM, so it runs in the signing thread.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError
from tpmconsole.secret import Password
from tpmconsole.session.directory import KEY_FILE, SessionConfig
from tpmconsole.session.process.preflight import prove_handshake, prove_key, read_chain
from tpmconsole.session.tls.bridge import Bridge
from tpmconsole.session.tls.context import (
    BridgeEngine,
    Engine,
    EngineFailedError,
    ProviderEngine,
    make_context,
)
from tpmconsole.session.tls.crl import RevocationLists
from tpmconsole.session.tls.engine import BRIDGE, EngineChoice, instead_of_provider
from tpmconsole.session.tls.errors import explain
from tpmconsole.session.tls.openssl import BridgeError, avoid_provider
from tpmconsole.session.tls.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

    from tpmconsole.session.status import CrlInfo
    from tpmconsole.tpm.signer import Signer

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ready:
    """What new connections use.

    Attributes:
        context: the TLS context with our certificate and key.
        engine: signs for it.
        choice: the name of that engine, and the reason for it.
        chain: our certificate, then its intermediates.
        crl: the list of revoked certificates that expires first; None for none.
    """

    context: ssl.SSLContext
    engine: Engine
    choice: EngineChoice
    chain: tuple[x509.Certificate, ...]
    crl: CrlInfo | None = None

    @property
    def leaf(self) -> x509.Certificate:
        """Our certificate."""
        return self.chain[0]


class Preparation:
    """Makes a session's context from its order.

    Args:
        folder: the session's.
        order: its configuration.
        password: the key's.
        open_signer: opens the key in a process of its own.
        examine: finds the real cause for the provider's engine if signing failed.

    Attributes:
        signer: the open key; None while it is closed.
    """

    def __init__(
        self,
        folder: Path,
        order: SessionConfig,
        password: Password | None,
        open_signer: Callable[[], Signer],
        examine: Callable[[], BaseException | None],
    ) -> None:
        self._folder = folder
        self._order = order
        self._password = password
        self._open_signer = open_signer
        self._examine = examine
        self.signer: Signer | None = None
        self.choice = order.engine

    def open_key(self) -> Signer:
        """Open the key, until ``close``.

        Raises:
            ConsoleError: the TPM cannot be reached, or refuses the key.
        """
        if self.signer is None:
            self.signer = self._open_signer()
        return self.signer

    def make(self) -> Ready:
        """Check that key, certificate and engine work together, and make a context of them.

        Raises:
            ConsoleError: names the one that does not work, and says why.
        """
        chain = read_chain(self._order.credentials.certificate)
        if self.choice.name == BRIDGE:
            return self._ready(self._bridge(chain), chain)
        try:
            return self._ready(self._provider(chain), chain)
        except EngineFailedError as trouble:
            other = instead_of_provider(self._order.spec.engine, self._order.credentials.key)
            if other is None:
                raise
            LOG.warning("%s; the bridge is tried instead", trouble)
            why = f"{other} ({trouble.cause})"
            self.choice = replace(self.choice, name=BRIDGE, why=why)
            # The configuration for older providers makes them verify in the TPM too.
            avoid_provider("tpm2")
            return self._ready(self._bridge(chain), chain)

    def still_signs(self, ready: Ready) -> bool:
        """Whether the engine and key for new connections can sign now."""
        try:
            prove_handshake(self._order.spec, ready.engine, [ready.leaf])
        except ConsoleError as trouble:
            LOG.info("the engine no longer signs: %s", trouble)
            return False
        return True

    def close(self) -> None:
        """Remove the key from the TPM's memory."""
        signer, self.signer = self.signer, None
        if signer is not None:
            signer.close()

    def _bridge(self, chain: list[x509.Certificate]) -> Engine:
        signer = self.open_key()
        public_key = prove_key(signer, chain[0], raw=True)
        try:
            bridge = Bridge(public_key, signer.sign, signer.raw_rsa)
        except BridgeError as error:
            raise explain(error, Peer("the", "key")) from error
        return BridgeEngine(bridge, self._order.credentials.certificate)

    def _provider(self, chain: list[x509.Certificate]) -> Engine:
        try:
            prove_key(self.open_key(), chain[0], raw=False)
        finally:
            # The provider loads the key itself, and some TPMs hold only a few.
            self.close()
        handle = self._order.credentials.key.handle
        return ProviderEngine(
            self._folder / KEY_FILE if handle is None else handle,
            self._order.credentials.certificate,
            self._password,
            self._examine,
        )

    def _ready(self, engine: Engine, chain: list[x509.Certificate]) -> Ready:
        spec, credentials = self._order.spec, self._order.credentials
        prove_handshake(spec, engine, chain)
        crl = RevocationLists.read(Path(spec.crl)) if spec.crl else None
        context = make_context(
            server=spec.role == "server",
            engine=engine,
            trust=credentials.trust,
            crl=crl,
            min_tls=spec.min_tls,
            max_tls=spec.max_tls,
            signs_late=spec.signs_late,
        )
        ends = None if crl is None else crl.first_to_end()
        return Ready(context, engine, self.choice, tuple(chain), ends)
