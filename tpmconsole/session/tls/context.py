"""TLS contexts of a session: what the peer must prove, and which key is ours."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.secret import Password
from tpmconsole.session.tls.bridge import Bridge
from tpmconsole.session.tls.crl import RevocationLists
from tpmconsole.session.tls.errors import explain, is_peers_doing
from tpmconsole.session.tls.openssl import (
    BridgeError,
    BridgeUnavailable,
    name_accepted_cas,
    remember_no_sessions,
)
from tpmconsole.session.tls.peer import Peer
from tpmconsole.session.tls.refused import notice_refusals

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Engine(Protocol):
    """Gives a context its certificate and the key in the TPM."""

    def install(self, context: ssl.SSLContext) -> None:
        """Install them; raises ConsoleError if certificate or key cannot be used."""

    def take_failure(self) -> BaseException | None:
        """Return why the last signature failed, and forget it; None if the engine does not know."""

    def cause_of(self, error: ssl.SSLError) -> BaseException | None:
        """Return the real error if a handshake failed because of the key; else None."""


class EngineFailedError(ConsoleError):
    """The key is fine, but this engine cannot use it: another might."""


class BridgeEngine:
    """The signing bridge of this package.

    Args:
        bridge: holds the key.
        chain: PEM file: the certificate, then its intermediates.
    """

    def __init__(self, bridge: Bridge, chain: Path) -> None:
        self._bridge = bridge
        self._chain = chain

    def install(self, context: ssl.SSLContext) -> None:
        """Give a context certificate and key.

        Raises:
            ConsoleError: one of them cannot be used, or they do not belong together.
        """
        try:
            self._bridge.install(context, self._chain)
        except BridgeError as error:
            raise explain(error, Peer("the", "key")) from error

    def take_failure(self) -> BaseException | None:
        """Return why the last signature failed, and forget it."""
        return self._bridge.take_failure()

    def cause_of(self, error: ssl.SSLError) -> BaseException | None:  # noqa: ARG002 - it is kept
        """Return why the last signature failed, and forget it."""
        return self.take_failure()


class ProviderEngine:
    """OpenSSL's tpm2 provider, which this process's OpenSSL configuration has switched on.

    Args:
        key: the TSS2 key file, or a persistent handle.
        chain: PEM file: the certificate, then its intermediates.
        password: the key's.
        examine: finds out what is wrong with the key, which the provider does not report.
    """

    def __init__(
        self,
        key: Path | int,
        chain: Path,
        password: Password | None,
        examine: Callable[[], BaseException | None],
    ) -> None:
        self._key = key
        self._chain = chain
        self._password = password or b""
        self._examine = examine

    def install(self, context: ssl.SSLContext) -> None:
        """Give a context certificate and key.

        Raises:
            ConsoleError: OpenSSL rejects the certificate or the key, or they do not belong
                together.
        """
        if isinstance(self._key, int):
            self._install_handle(context, self._key)
            return
        try:
            # Always a callback: without one OpenSSL would prompt on the terminal.
            context.load_cert_chain(self._chain, self._key, password=lambda: self._password)
        except ssl.SSLError as error:
            if error.reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
                raise mismatch() from error
            raise EngineFailedError(
                "Provider refuses the key",
                f"OpenSSL says {error.reason or error}; the TPM itself could use the key",
                NextStep(Action.USE_ENGINE, "bridge", "look at the session's log, or use {}"),
                ExitCode.REFUSED,
            ) from error
        except OSError as error:
            raise ConsoleError(
                "Certificate not loaded",
                f"{self._chain}: {error.strerror or error}",
                "import the certificate again",
            ) from error

    def _install_handle(self, context: ssl.SSLContext, handle: int) -> None:
        from tpmconsole.session.tls.store_key import install_handle

        if self._password:
            raise EngineFailedError(
                "Provider cannot use this key",
                "the tpm2 provider does not pass on the password of a key at a handle",
                NextStep(Action.USE_ENGINE, "bridge", "use {}"),
                ExitCode.REFUSED,
            )
        try:
            install_handle(context, self._chain, handle)
        except BridgeError as error:
            raise EngineFailedError(
                error.title, error.cause, error.remedy, ExitCode.REFUSED
            ) from error

    def take_failure(self) -> BaseException | None:
        """Return None: the provider does not report why it failed."""
        return None

    def cause_of(self, error: ssl.SSLError) -> BaseException | None:
        """Examine the key now, unless the peer caused the error; return what is wrong with it."""
        return None if is_peers_doing(error) else self._examine()


def mismatch() -> ConsoleError:
    """Return the error for a certificate that was issued for another key."""
    return ConsoleError(
        "Certificate and key do not belong together",
        "the certificate's public key is not that of the key",
        "import the certificate that was issued for this key",
    )


def make_context(
    *,
    server: bool,
    engine: Engine,
    trust: Path,
    crl: RevocationLists | None,
    min_tls: str | None,
    max_tls: str | None,
    signs_late: bool = False,
) -> ssl.SSLContext:
    """Make a context that always requires the peer's certificate.

    Args:
        trust: PEM file: trust anchors for the peer; an intermediate CA may be one of them.
        crl: lists of revoked certificates; None for none.
        min_tls: ``1.2`` or ``1.3``; None for 1.2.
        max_tls: ``1.2`` or ``1.3``; None for no limit.
        signs_late: a client also sends its certificate if a server asks for it in the middle of a
            connection (TLS 1.3): reading can then sign.

    Raises:
        ConsoleError: trust anchors, revocation lists, certificate or key cannot be used.
    """
    context = bare_context(server=server, min_tls=min_tls, max_tls=max_tls)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(os.fspath(trust))
    except (ssl.SSLError, OSError) as error:
        raise ConsoleError(
            "Trust anchors not loaded",
            f"{trust} has no certificate that OpenSSL can read ({_reason(error)})",
            NextStep(Action.ADD_TRUST, text="add them again: {}"),
        ) from error
    if server:
        with suppress(BridgeUnavailable):  # then clients choose without these names
            name_accepted_cas(context, trust)
    if crl is not None:
        crl.demand(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = not server
    context.post_handshake_auth = signs_late
    engine.install(context)
    return context


def bare_context(*, server: bool, min_tls: str | None, max_tls: str | None) -> ssl.SSLContext:
    """Make a context with our rules for the protocol, without certificates, keys or anchors.

    Renegotiation is off; the server neither issues tickets nor keeps sessions: every connection
    proves its keys again. A client resumes a session only if the caller asks for it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[min_tls or "1.2"]
    if max_tls:
        context.maximum_version = _VERSIONS[max_tls]
    # The common name never counts, not even beside names of other kinds (RFC 9525, 6.3).
    context.hostname_checks_common_name = False
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    with suppress(BridgeUnavailable):  # then a refusal does not name the certificate
        notice_refusals(context)
    if server:
        context.num_tickets = 0
        with suppress(BridgeUnavailable):  # the server itself refuses resumed sessions
            remember_no_sessions(context)
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").replace("_", " ").lower()
    return error.strerror or str(error)
