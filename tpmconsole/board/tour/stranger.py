"""Connect to the tour's server as anyone could: with Python's ssl and without a TPM."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from tpmconsole.errors import ConsoleError

PATIENCE_S = 10.0
# How long to wait for the refusal of a server before anything is sent to it.
REFUSAL_S = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a connection.

    Attributes:
        welcome: whether the server accepted the client.
        text: its answer, or OpenSSL's reason for the refusal.
        version: the version of TLS.
    """

    welcome: bool
    text: str
    version: str = ""


def knock(address: str, root: str, credentials: tuple[Path, Path] | None) -> Answer:
    """Connect to a server and send ``PING 1``.

    Args:
        address: ``HOST:PORT``.
        root: the trust anchor for the server's certificate, PEM.
        credentials: certificate and private key; None for a client without a certificate.

    Raises:
        ConsoleError: the server does not answer.
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
        return Answer(False, (error.reason or "connection lost").replace("_", " ").lower())
    except OSError as error:
        raise ConsoleError(
            "Server not reached",
            f"{address}: {error.strerror or error}",
            "start the tour again",
        ) from error


def _talk(tls: ssl.SSLSocket, *, refused_at_once: bool) -> Answer:
    if refused_at_once:
        # With TLS 1.3, a client without a certificate learns of the refusal only when it reads
        # (RFC 8446, 4.4.2.4). If it sent data before, the connection might be reset first.
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
