"""Explains the status of a server's answer in HTTP (RFC 9110, 15)."""

from __future__ import annotations

from tpmconsole.errors import ConsoleError, Remedy
from tpmconsole.session.tls.peer import Peer

_REMEDIES: dict[int, Remedy] = {
    400: "look at its log: perhaps it does not accept our certificate or the host name",
    401: "ask its operator: it wants more than a certificate",
    403: "ask its operator whether our certificate may fetch that",
    404: "check the path",
    410: "check the path",
    421: "connect to the host name that it serves",
    429: "ask less often: take a longer interval",
}
_SERVER_ERROR = 500


class ServerError(ConsoleError):
    """The server has a problem (RFC 9110, 15.6), which may be temporary."""


def check_status(status: int, request: str, peer: Peer) -> None:
    """Refuse an answer that is not a success.

    Args:
        request: the method and the path.

    Raises:
        ConsoleError: it refuses the request (4xx).
        ServerError: it could not answer it (5xx).
    """
    cause = f"{peer} answers {request} with HTTP status {status}"
    if status >= _SERVER_ERROR:
        raise ServerError("Server error", cause, "look at its log")
    if status >= 400:
        raise ConsoleError("Request refused", cause, _REMEDIES.get(status, "look at its log"))
