"""Calling the tour's server as anybody could: with Python's ssl and no TPM."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from tpmconsole.errors import ConsoleError

PATIENCE_S = 10.0
# So long a server that turns a stranger away has time to say so before we speak.
REFUSAL_S = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call.

    Attributes:
        welcome: the server talks to us.
        text: its answer, or OpenSSL's word for its refusal.
        version: of TLS.
    """

    welcome: bool
    text: str
    version: str = ""


def knock(address: str, root: str, credentials: tuple[Path, Path] | None) -> Answer:
    """Call a server, and say ``PING 1``.

    Args:
        address: ``HOST:PORT``.
        root: the certificate that the server's is checked by, PEM.
        credentials: certificate and private key; None for a caller without.

    Raises:
        ConsoleError: nobody answers there.
    """
    from tpmconsole.session.tls.context import bare_context

    context = bare_context(server=False, min_tls=None, max_tls=None)
    context.load_verify_locations(cadata=root)
    if credentials is not None:
        context.load_cert_chain(*credentials)
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), PATIENCE_S) as connection,
            context.wrap_socket(connection, server_hostname=host) as tls,
        ):
            return _talk(tls, refused_at_once=credentials is None)
    except ssl.SSLError as error:
        return Answer(False, (error.reason or "it broke off").replace("_", " ").lower())
    except OSError as error:
        raise ConsoleError(
            "Server not reached",
            f"{address}: {error.strerror or error}",
            "start the tour over",
        ) from error


def _talk(tls: ssl.SSLSocket, *, refused_at_once: bool) -> Answer:
    if refused_at_once:
        # With TLS 1.3 a client without a certificate learns of its refusal only when it listens
        # (RFC 8446, 4.4.2.4); what it sent meanwhile might make the connection break off first.
        tls.settimeout(REFUSAL_S)
        try:
            if not tls.recv(1):
                return Answer(False, "it hung up")
        except TimeoutError:
            pass
        tls.settimeout(PATIENCE_S)
    tls.sendall(b"PING 1\n")
    line = tls.recv(64).decode("ascii", "replace").strip()
    return Answer(line == "PONG 1", line or "it hung up", tls.version() or "")
