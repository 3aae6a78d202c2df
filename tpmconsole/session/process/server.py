"""The server: answers many clients at once, and keeps each from harming the others."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError
from tpmconsole.session.process.line_protocol import (
    LINE_BYTES,
    TOO_LONG,
    answer,
    begins_http,
    may_be_http,
)
from tpmconsole.session.process.places import Places, source_of
from tpmconsole.session.process.recorder import peer_facts
from tpmconsole.session.process.running import HANDSHAKE_S, Running
from tpmconsole.session.process.tcp import Wire, listen
from tpmconsole.session.process.tls_stream import LineTooLongError, TlsStream
from tpmconsole.session.status import State
from tpmconsole.session.tls.peer import Peer
from tpmconsole.system.zones import name_text

if TYPE_CHECKING:
    from tpmconsole.session.process.http_server import HttpServer

CLIENTS = 256
IDLE_S = 600.0
# The time for a whole ClientHello: a client sends it at once.
HELLO_TIMEOUT_S = 5.0
HEADER_S = 10.0
BACKLOG = 128
ACCEPT_AGAIN_S = 1.0


class Server:
    """Listens until it is cancelled.

    Args:
        running: the session.
        idle_s: seconds that a client may be silent.
        clients: how many may be connected at once; at most a quarter of them from one address.
        hello_timeout_s: seconds until a client's whole ClientHello must have arrived.
    """

    def __init__(
        self,
        running: Running,
        *,
        idle_s: float = IDLE_S,
        clients: int = CLIENTS,
        hello_timeout_s: float = HELLO_TIMEOUT_S,
    ) -> None:
        self._running = running
        self._live = running.live
        self._idle_s = idle_s
        self._hello_timeout_s = hello_timeout_s
        self._places = Places(clients)
        self._tasks: set[asyncio.Task[None]] = set()
        self._since = time.monotonic()

    async def run(self) -> None:
        """Listen and serve.

        Raises:
            ConsoleError: it cannot listen on the address.
        """
        spec = self._running.spec
        try:
            listeners = await listen(spec.host, spec.port, BACKLOG)
        except OSError as error:
            raise self._running.explain(error, Peer("address", spec.address)) from error
        self._live.change(address=name_text(listeners[0].getsockname()))
        self._live.enter(State.RUNNING)
        self._live.event("listening", address=self._live.facts.address)
        try:
            await asyncio.gather(*map(self._accept_from, listeners))
        finally:
            for listener in listeners:
                listener.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept_from(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, name = await asyncio.get_running_loop().sock_accept(listener)
            except OSError as error:
                # For example, it has run out of file descriptors: keep serving the clients it has.
                self._live.trouble(
                    self._running.explain(error, Peer("address", self._live.facts.address))
                )
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            client = self._running.peer(name_text(name))
            self._accept(Wire(connection), client, source_of(name))

    def _accept(self, wire: Wire, client: Peer, source: str) -> None:
        full = self._places.take(source)
        if full is not None:
            wire.drop()
            self._live.trouble(
                ConsoleError("Client turned away", f"{client}: {full}", "end some of them")
            )
            return
        task = asyncio.get_running_loop().create_task(self._serve(wire, client, source))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, source))

    def _ended(self, source: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.leave(source)

    async def _serve(self, wire: Wire, client: Peer, source: str) -> None:
        running = self._running
        stream = TlsStream(wire, running.ready, running.thread, owner=source)
        self._live.add(connections=1)
        greeted, why = False, "by the client"
        try:
            await stream.handshake(HANDSHAKE_S, self._hello_timeout_s)
            _refuse_resumed(stream, client)
            greeted = True
            self._live.handshake(stream, peer_facts(stream), client=client.address)
            await self._talk(stream, client)
        except (EOFError, ssl.SSLEOFError, ConnectionError) as error:
            if stream.is_silent:
                # A load balancer or a monitor checks whether the port is open.
                self._live.add(probes=1)
            elif not greeted or not isinstance(error, EOFError):
                why = "by an error"
                self._live.trouble(running.explain(error, client, stream))
        except TimeoutError as error:
            why = "it said nothing for too long"
            if not greeted:
                self._live.trouble(running.explain(error, client))
        except LineTooLongError:
            why = "it sent too long a line"
        except Exception as error:  # noqa: BLE001 - one client must not end the others
            why = "by an error"
            self._live.trouble(running.explain(error, client, stream))
        finally:
            try:
                await stream.close()
            finally:
                # Not earlier: until it is closed it takes a client's place.
                self._live.add(connections=-1)
        if greeted:
            self._live.event("closed", client=client.address, why=why)

    async def _talk(self, stream: TlsStream, client: Peer) -> None:
        first = True
        while True:
            try:
                line = await stream.read_line(LINE_BYTES, self._idle_s)
            except LineTooLongError:
                begun = await stream.read_some()
                if first and may_be_http(begun):
                    await self._talk_http(stream, client, b"", HTTPStatus.REQUEST_URI_TOO_LONG)
                    return
                await self._say(stream, TOO_LONG)
                raise
            start = time.perf_counter()
            if first and begins_http(line):
                await self._talk_http(stream, client, line + b"\r\n")
                return
            first = False
            said = answer(line, self._status())
            await self._say(stream, said)
            self._count(stream)
            self._live.event(
                "message",
                client=client.address,
                text=line[:80].decode("ascii", "replace"),
                answer=said,
                ms=round((time.perf_counter() - start) * 1000, 2),
            )

    async def _talk_http(
        self, stream: TlsStream, client: Peer, begun: bytes, refusal: HTTPStatus | None = None
    ) -> None:
        def tell(request: str, status: int) -> None:
            self._count(stream)
            self._live.event(
                "message", client=client.address, text=request, answer=f"HTTP {int(status)}"
            )

        # In a thread, since the first call reads the library from the disk.
        http_server = await asyncio.to_thread(_load_http)
        talk = http_server(stream, begun, partial(self._page, stream), tell, HEADER_S)
        await (talk.run() if refusal is None else talk.refuse(refusal))

    async def _say(self, stream: TlsStream, text: str) -> None:
        await stream.write(text.encode("ascii") + b"\n")

    def _count(self, stream: TlsStream) -> None:
        self._live.add(messages=1, bytes_in=stream.bytes_in, bytes_out=stream.bytes_out)
        stream.bytes_in = stream.bytes_out = 0

    def _status(self) -> str:
        facts = self._live.facts
        return (
            f"OK clients={facts.connections} handshakes={facts.handshakes} "
            f"messages={facts.messages} uptime_s={time.monotonic() - self._since:.0f}"
        )

    def _page(self, stream: TlsStream) -> str:
        peer, cipher = peer_facts(stream), stream.tls.cipher()
        return (
            f"{self._running.spec.identity}, whose key is in a TPM, greets {peer.subject}.\n"
            f"{stream.tls.version()}, {cipher[0] if cipher else '-'}\n"
            f"{self._status()}\n"
        )


def _load_http() -> type[HttpServer]:
    from tpmconsole.session.process.http_server import HttpServer

    return HttpServer


def _refuse_resumed(stream: TlsStream, client: Peer) -> None:
    """Refuse a client that resumed a session and so proved no key, if OpenSSL remembered it.

    Raises:
        ConsoleError: it resumed an earlier session.
    """
    if stream.tls.session_reused:
        raise ConsoleError(
            "Client turned away",
            f"{client} resumed an earlier session, and so proved no key",
            "switch session resumption off in the client, or let it use TLS 1.3",
        )
