"""Explain network errors, which the kernel reports as numbers."""

from __future__ import annotations

import errno
import socket

from tpmconsole.errors import ConsoleError
from tpmconsole.session.tls.peer import Peer

_CLOSED = (
    "Connection closed",
    "it closed the connection before it was asked to",
    "look at its log",
)
_NOT_FOUND = (
    "Host not found",
    "there is no host of that name",
    "check the spelling and the board's name servers (/etc/resolv.conf), or use an address",
)
WORDS: dict[int, tuple[str, str, str]] = {
    errno.ECONNREFUSED: (
        "Connection refused",
        "nothing listens there",
        "check the port, and that the server runs",
    ),
    errno.ECONNRESET: ("Connection lost", "it broke the connection off", "look at its log"),
    errno.EPIPE: ("Connection lost", "it broke the connection off", "look at its log"),
    errno.EHOSTUNREACH: ("Host not reached", "there is no route to it", "check cable and routes"),
    errno.ENETUNREACH: ("Host not reached", "there is no route to it", "check cable and routes"),
    errno.ETIMEDOUT: (
        "No answer",
        "it does not answer in time",
        "check the network and the address",
    ),
    errno.EADDRINUSE: (
        "Port in use",
        "another program already listens there",
        "choose another port, or end that program (ss -ltnp names it)",
    ),
    errno.EADDRNOTAVAIL: (
        "No such address",
        "this board does not have this address",
        "use one of its own (ip address), or 0.0.0.0 for all of them",
    ),
    errno.ENODEV: (
        "No such interface",
        "this board has no network interface with the name after the %",
        "list them (ip link), and write one as in [fe80::1%eth0]:8443",
    ),
    errno.EACCES: (
        "Not permitted",
        "ports below 1024 are reserved for root",
        "choose a port from 1024 up",
    ),
}


def not_reached(error: OSError | EOFError, peer: Peer) -> ConsoleError:
    """Return the error that says why there is no connection to a peer, or why it ended."""
    if isinstance(error, EOFError):
        title, cause, remedy = _CLOSED
    elif isinstance(error, socket.gaierror):
        again = error.errno == socket.EAI_AGAIN
        title, _, remedy = _NOT_FOUND
        cause = "the name servers do not answer" if again else "there is no host of that name"
    else:
        number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or 0
        other = ("Connection failed", error.strerror or str(error), "check network and address")
        title, cause, remedy = WORDS.get(number, other)
    return ConsoleError(title, f"{peer}: {cause}", remedy)
