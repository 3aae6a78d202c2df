"""A client's requests in HTTP/1.1 and their answers, read by h11 (RFC 9110, RFC 9112)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import h11

from tpmconsole.errors import Action, ConsoleError, NextStep, Remedy
from tpmconsole.text import printable

if TYPE_CHECKING:
    from tpmconsole.session.process.tls_stream import TlsStream
    from tpmconsole.session.tls.peer import Peer

LOG = logging.getLogger(__name__)

HEADER_BYTES = 64 * 1024
# The rest of an answer is not read: a session only needs its status.
PAGE_BYTES = 1024 * 1024
_BEGINNING = b"HTTP/"
_TOO_LARGE = 431

Read = Callable[[], Awaitable[bytes]]


class HttpClient:
    """Sends requests over one connection, one after the other.

    Args:
        stream: the connection, after its handshake.
        host: the value of the Host field.
        peer: the server, for errors.
    """

    def __init__(self, stream: TlsStream, host: str, peer: Peer) -> None:
        self._stream = stream
        self._host = host
        self._peer = peer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_BYTES)
        self._beginning = b""
        self._is_over = False

    async def get(self, path: str, read: Read) -> int:
        """Fetch a path, and read the answer to its end or to ``PAGE_BYTES``.

        Args:
            read: reads from the stream.

        Returns:
            The status.

        Raises:
            ConsoleError: the answer is not HTTP, or was cut off.
            EOFError: the server has closed the connection instead of answering.
            OSError: the network or TLS failed.
        """
        self._beginning = b""
        fields = [("Host", self._host), ("User-Agent", "tpmconsole"), ("Accept", "*/*")]
        request = h11.Request(method="GET", target=path, headers=fields)
        await self._stream.write(self._http.send(request) + self._http.send(h11.EndOfMessage()))
        response = await self._response(read)
        await self._body(response, read)
        return response.status_code

    def begin_next(self) -> bool:
        """Whether both sides keep the connection for another request."""
        states = (self._http.our_state, self._http.their_state)
        if self._is_over or states != (h11.DONE, h11.DONE):
            return False
        self._http.start_next_cycle()
        return True

    async def _response(self, read: Read) -> h11.Response:
        while not isinstance(event := await self._event(read), h11.Response):
            if not isinstance(event, h11.InformationalResponse):  # 1xx: there is more to come
                raise self._cut_off()
        return event

    async def _body(self, response: h11.Response, read: Read) -> None:
        size = 0
        while size <= PAGE_BYTES:
            event = await self._event(read)
            if isinstance(event, h11.Data):
                size += len(event.data)
                continue
            if not _has_end(response) and not self._stream.is_farewell:
                # The body ends with the connection, which anyone on the path could have cut.
                raise self._cut_off()
            return

    async def _event(self, read: Read) -> h11.Event | type[h11.PAUSED]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise self._refused(error) from error
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            await self._receive(read)

    async def _receive(self, read: Read) -> None:
        try:
            data = await read()
        except EOFError:
            if not self._beginning:
                raise
            self._is_over, data = True, b""
        missing = len(_BEGINNING) - len(self._beginning)
        self._beginning += data[:missing]
        if not _BEGINNING.startswith(self._beginning):
            raise self._unexpected(
                "does not answer with HTTP",
                NextStep(Action.USE_PROTOCOL, "line", "check the port, or use {}"),
            )
        self._http.receive_data(data)

    def _refused(self, error: h11.RemoteProtocolError) -> ConsoleError:
        LOG.info("%s: h11 says: %s", self._peer, printable(str(error)))
        if self._is_over:
            return self._cut_off()
        if error.error_status_hint == _TOO_LARGE:
            return self._unexpected(
                f"answers with a header of more than {HEADER_BYTES // 1024} KB", "look at its log"
            )
        return self._unexpected("breaks the rules of HTTP/1.1", "look at its log")

    def _unexpected(self, what: str, remedy: Remedy) -> ConsoleError:
        return ConsoleError("Unexpected answer", f"{self._peer} {what}", remedy)

    def _cut_off(self) -> ConsoleError:
        return ConsoleError(
            "Answer cut off",
            f"{self._peer} ended the connection before the end of its answer",
            "look at its log",
        )


def _has_end(response: h11.Response) -> bool:
    """Whether an answer says where its body ends (RFC 9112, 6.3)."""
    names = {name for name, _ in response.headers}
    no_body = response.status_code in (204, 304)
    return no_body or not names.isdisjoint((b"content-length", b"transfer-encoding"))
