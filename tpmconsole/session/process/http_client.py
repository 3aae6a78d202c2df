"""What a client makes of a server's answers in HTTP (RFC 9110)."""

from __future__ import annotations

from tpmconsole.errors import ConsoleError, Remedy
from tpmconsole.session.tls.peer import Peer

_REMEDIES: dict[int, Remedy] = {
    400: "look into its log: it may not accept our certificate, or not the host name",
    401: "ask who runs it: it wants more than a certificate",
    403: "ask who runs it whether our certificate may fetch that",
    404: "check the path",
    410: "check the path",
    421: "connect by the host name that it serves",
    429: "ask less often: take a longer interval",
}
_SERVER_ERROR = 500


class ServerTroubleError(ConsoleError):
    """The server has trouble of its own (RFC 9110, 15.6), which may pass."""


def check_status(status: int, request: str, peer: Peer) -> None:
    """Refuse an answer that is no success: TLS stands, and what was asked for was not given.

    Args:
        request: the method and the path.

    Raises:
        ConsoleError: it refuses the request (4xx).
        ServerTroubleError: it could not answer it (5xx).
    """
    cause = f"{peer} answers {request} with HTTP status {status}"
    if status >= _SERVER_ERROR:
        raise ServerTroubleError("Server in trouble", cause, "look into its log")
    if status >= 400:
        raise ConsoleError("Request refused", cause, _REMEDIES.get(status, "look into its log"))
