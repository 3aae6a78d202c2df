"""A plain connection on asyncio that loses nothing that the peer has sent.

asyncio's transports and streams drop a connection at the first failed send, with all unread bytes.
A TLS alert is often among those: it is the last thing that a peer sends before it closes, often
while we are sending, and the only thing that says why.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import suppress

from tpmconsole.system.zones import check_zone

CHUNK_BYTES = 32 * 1024
SEND_S = 30.0
KEEPALIVE_S = 120
SHORTEST_CONNECT_S = 2.0  # enough for one lost packet: the kernel sends it again after 1 s
_ESTABLISHED = 1  # TCP_ESTABLISHED of netinet/tcp.h: neither end has closed
_LAST_WORDS = 1 << 20  # bytes that a peer may still send after we have closed


class Wire:
    """One end of a connection.

    Args:
        connection: a connected TCP socket, closed with this.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with suppress(OSError):  # the peer has already gone; reading will report it
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # On a silent connection only this detects that the peer has disappeared.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        self._socket = connection
        self._lost: OSError | None = None

    async def receive(self) -> bytes:
        """Return what has arrived; empty at the end.

        Raises:
            OSError: the connection broke, and all that came before has been received.
        """
        data = await asyncio.get_running_loop().sock_recv(self._socket, CHUNK_BYTES)
        # Bytes that have already arrived are returned without a wait: a peer that never stops
        # sending would be the only one served, and its time-out would never fire.
        await asyncio.sleep(0)
        if not data and self._lost is not None:
            raise self._lost
        return data

    def check_peer(self) -> None:
        """Ask the kernel whether the peer may still answer, even if its bytes are unread.

        Any thread may call this.

        Raises:
            EOFError: it has closed its end.
            OSError: the connection broke, or we have closed it.
        """
        # The first byte of struct tcp_info is the connection's state (tcp(7)).
        state = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state == _ESTABLISHED:
            return
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        raise EOFError

    def is_quiet(self) -> bool:
        """Whether there is nothing to receive, and the peer has not closed its end."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def send(self, data: bytes) -> None:
        """Send; if the connection is broken this does nothing, and ``receive`` reports it.

        Raises:
            TimeoutError: the peer does not accept the bytes.
        """
        if self._lost is not None:
            return
        try:
            async with asyncio.timeout(SEND_S):
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except TimeoutError:
            raise
        except OSError as error:
            self._lost = error

    async def close(self, patience_s: float) -> None:
        """Close when all is sent and the peer has closed too, or its limit of time or bytes is up.

        If bytes are unread at the close, the kernel resets the connection, and the peer may lose
        what it has not read yet.
        """
        left = _LAST_WORDS
        with suppress(OSError, TimeoutError):
            self._socket.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(patience_s):
                while left > 0 and (data := await self.receive()):
                    left -= len(data)
        self.drop()

    def drop(self) -> None:
        """Close at once."""
        self._socket.close()


async def connect(host: str, port: int, patience_s: float) -> Wire:
    """Connect to the first of a host's addresses that answers.

    Args:
        patience_s: for the name servers, and again for the addresses: each gets an equal part of
            it, so that a silent one does not use up the time of the next.

    Raises:
        OSError: none does; the error of the last one.
    """
    loop = asyncio.get_running_loop()
    trouble: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    async with asyncio.timeout(patience_s):
        check_zone(host)
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family, kind, number, _, address in found:
        connection = socket.socket(family, kind, number)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(max(SHORTEST_CONNECT_S, patience_s / len(found))):
                await loop.sock_connect(connection, address)
        except OSError as error:
            trouble = error
            connection.close()
        except BaseException:
            connection.close()
            raise
        else:
            return Wire(connection)
    raise trouble


async def listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listen on those of a host's addresses that this board has; for port 0 on one of them.

    Raises:
        OSError: none is an address of this board, or another program uses the port on one.
    """
    check_zone(host)
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listeners: list[socket.socket] = []
    trouble: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    for family, _, _, _, address in found:
        try:
            listener = socket.create_server(
                address,  # with the interface of a link-local one
                family=family,
                backlog=backlog,
            )
        except OSError as error:
            trouble = error
            # /etc/hosts gives "localhost" an IPv6 address even on boards without IPv6.
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue
            for one in listeners:
                one.close()
            raise
        listener.setblocking(False)
        listeners.append(listener)
        if port == 0:
            break
    if not listeners:
        raise trouble
    return listeners
