"""The client: connects, sends its messages, if any, and reconnects when the connection is lost.

These errors end a session before its first message is answered:

- an unknown host name, a server that is not trusted, one that refuses our certificate or request or
  gives an unexpected answer, and a problem with our own key: trying again changes nothing;
- no answer from the server or the name servers, a refused or broken connection, or a server error
  (HTTP 5xx), if the session has a count, because its user waits for the messages; a session without
  a count tries again without end.

After a message was answered, everything is tried again: without end, or at most ``TRIES`` times in
a row with a count. A number of retries, if given, replaces both rules. The waits double from 1 s to
60 s, each shortened by up to a quarter at random so that not all clients reach a restarted server
at the same moment.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.inputs import HTTPS_PORT, address_text, without_zone
from tpmconsole.session.process.http_status import ServerError, check_status
from tpmconsole.session.process.recorder import peer_facts
from tpmconsole.session.process.running import HANDSHAKE_S, Running
from tpmconsole.session.process.tcp import connect
from tpmconsole.session.process.tls_stream import LineTooLongError, TlsStream
from tpmconsole.session.tls.errors import is_about_trust
from tpmconsole.session.tls.peer import Peer

CONNECT_S = 10.0
ANSWER_S = 15.0
# With TLS 1.3 a server refuses our certificate only after our side is done (RFC 8446, E.1.6 and
# 4.4.2.4): the handshake counts as successful once the server has answered, or sent no alert for
# this long.
PROOF_S = 1.0
SHORTEST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
SPREAD = 0.25
TRIES = 5
# A server may drop clients that are silent for longer; then each message gets its own connection.
KEEP_S = 240.0
LINE_BYTES = 8192


def backoff_s(failures: int) -> float:
    """Return the seconds to wait before the next try, after ``failures`` (1 or more) in a row."""
    longest = SHORTEST_WAIT_S / (1 - SPREAD) * 2 ** min(failures - 1, 16)
    # Not a secret: it only spreads the clients.
    spread = random.uniform(1 - SPREAD, 1)  # noqa: S311
    return float(min(longest, LONGEST_WAIT_S) * spread)


def _is_hopeless(error: BaseException) -> bool:
    """Whether trying again without a change on either side is useless."""
    if isinstance(error, (ServerError, UnansweredError)) or _is_answerless(error):
        return False
    return isinstance(error, (socket.gaierror, ConsoleError)) or is_about_trust(error)


def _is_answerless(error: BaseException) -> bool:
    """Whether no name server answers (EAI_AGAIN), for example while the network starts."""
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN


class UnansweredError(ConsoleError):
    """TLS works, but the server did not answer what was sent; it may answer later."""


async def _drained(stream: TlsStream) -> None:
    """Read until the peer ends the connection, and discard the data."""
    with suppress(EOFError):
        while True:
            await stream.read_some()


class Client:
    """Sends messages until its count is reached or it is cancelled.

    Args:
        running: the session.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._spec = running.spec
        self._live = running.live
        self._sent = 0
        self._failures = 0
        self._proved = False
        self._short = 0  # connections in a row that the server ended soon

    async def run(self) -> None:
        """Connect and send messages.

        Raises:
            ConsoleError: the error that ended the session.
        """
        while True:
            try:
                has_paused = await self._connection()
            except (OSError, EOFError, LineTooLongError, ConsoleError) as error:
                trouble = self._running.explain(error, self._peer())
                if self._is_final(error):
                    raise trouble from error
                await self._wait_after(trouble)
            else:
                self._failures = 0
                if self._done:
                    return
                if not has_paused:
                    await self._pause()

    def _peer(self) -> Peer:
        return self._running.peer(self._spec.address)

    @property
    def _done(self) -> bool:
        return self._spec.count is not None and self._sent >= self._spec.count

    def _is_final(self, error: BaseException) -> bool:
        self._failures += 1
        spec = self._spec
        is_counted = spec.count is not None and spec.retries is None
        if self._sent == 0 and (is_counted or _is_hopeless(error)):
            return True
        limit = TRIES if is_counted else spec.retries
        return limit is not None and self._failures > limit

    async def _wait_after(self, trouble: ConsoleError) -> None:
        wait = backoff_s(self._failures)
        retry_at = (datetime.now(UTC) + timedelta(seconds=wait)).isoformat(timespec="milliseconds")
        self._live.change(waiting_for="peer", retry_at=retry_at)
        self._live.trouble(trouble, retry_in_s=round(wait, 1))
        await asyncio.sleep(wait)
        self._live.change(retry_at=None)
        self._live.add(reconnects=1)

    async def _pause(self) -> None:
        shortest = backoff_s(self._short) if self._short else 0.0
        await asyncio.sleep(max(self._spec.interval_s, shortest))

    async def _connection(self) -> bool:
        """Connect and send messages; return whether it has paused since the last message."""
        spec, running = self._spec, self._running
        self._live.event("connecting", address=spec.address)
        self._proved = False
        wire = await connect(spec.host, spec.port, CONNECT_S)
        stream = TlsStream(wire, running.ready, running.thread, without_zone(spec.host))
        why = "by an error"
        try:
            await stream.handshake(HANDSHAKE_S)
            self._live.change(connections=1)
            has_paused = False
            if spec.protocol == "tls":
                why = await self._hold(stream)
            else:
                talk = self._fetch if spec.protocol == "https" else self._ping
                has_paused = await talk(stream)
                why = "by us"
        except asyncio.CancelledError:
            why = "by us"
            raise
        except (OSError, EOFError, ConsoleError) as error:
            if stream.is_asked_anew:
                raise running.explain(error, self._peer(), stream) from error
            if isinstance(error, TimeoutError) and self._live.facts.connections:
                raise self._unanswered() from error
            raise
        finally:
            told = self._live.facts.connections
            self._live.change(connections=0)
            await stream.close()
            if told:
                self._live.event("closed", why=why)
        return has_paused

    def _unanswered(self) -> ConsoleError:
        return UnansweredError(
            "No answer inside TLS",
            f"TLS with {self._peer()} works, but no answer came in {ANSWER_S:.0f} s",
            NextStep(Action.USE_PROTOCOL, "tls", "check its protocol; {} sends nothing"),
        )

    async def _hold(self, stream: TlsStream) -> str:
        """Keep a connection without messages: the handshake authenticates both sides.

        With a count, each handshake counts as a message, and its connection ends after it.

        Returns:
            The side that ended it.
        """
        start, peer = time.monotonic(), peer_facts(stream)  # before it may be closed
        ended = asyncio.ensure_future(_drained(stream))
        try:
            await asyncio.wait({ended}, timeout=PROOF_S)
            if ended.done():
                ended.result()  # a refusal comes out here
            self._live.handshake(stream, peer)
            self._succeeded()
            if self._spec.count is not None:
                return "by us"
            await ended
            soon = time.monotonic() - start < LONGEST_WAIT_S
            self._short = self._short + 1 if soon else 0
            return "by the server"
        finally:
            ended.cancel()

    async def _ping(self, stream: TlsStream) -> bool:
        while True:
            text = f"PING {self._sent + 1}"
            start = time.perf_counter()
            await stream.write(text.encode("ascii") + b"\n")
            line = await self._proving(stream, self._line(stream))
            if line != f"PONG {self._sent + 1}".encode("ascii"):
                raise ConsoleError(
                    "Unexpected answer",
                    f"{self._peer()} does not answer PING with PONG",
                    NextStep(
                        Action.USE_PROTOCOL,
                        "https",
                        "check that a line server listens there, or use {}",
                    ),
                )
            self._tell(stream, text, line.decode("ascii"), start)
            self._succeeded()
            if self._done or self._spec.interval_s > KEEP_S:
                return False
            await self._pause()

    async def _fetch(self, stream: TlsStream) -> bool:
        """Fetch the path repeatedly; return whether it has paused since the last time."""
        from tpmconsole.session.process.http_client import HttpClient

        spec, request = self._spec, f"GET {self._spec.path}"
        port = "" if spec.port == HTTPS_PORT else f":{spec.port}"
        host = address_text(without_zone(spec.host), spec.port).rpartition(":")[0] + port
        http = HttpClient(stream, host, self._peer())
        while True:
            start = time.perf_counter()
            # A limit for the whole answer: a limit per field would never end an endless header.
            async with asyncio.timeout(ANSWER_S):
                status = await http.get(
                    spec.path, lambda: self._proving(stream, stream.read_some())
                )
            self._tell(stream, request, f"HTTP {status}", start)
            check_status(status, request, self._peer())
            self._succeeded()
            if self._done or spec.interval_s > KEEP_S or not http.begin_next():
                return False
            await self._pause()
            if not stream.is_quiet():  # it has closed an idle connection
                return True

    async def _line(self, stream: TlsStream) -> bytes:
        return await stream.read_line(LINE_BYTES, ANSWER_S)

    async def _proving(self, stream: TlsStream, answer: Coroutine[Any, Any, bytes]) -> bytes:
        if self._proved:
            return await answer
        waiting = asyncio.ensure_future(answer)
        try:
            await asyncio.wait({waiting}, timeout=PROOF_S)
            if waiting.done():
                waiting.result()  # a refusal comes out here
            self._live.handshake(stream, peer_facts(stream))
            self._proved = True
            return await waiting
        finally:
            waiting.cancel()

    def _succeeded(self) -> None:
        self._sent += 1
        self._failures = 0

    def _tell(self, stream: TlsStream, text: str, answer: str, start: float) -> None:
        self._live.add(messages=1, bytes_in=stream.bytes_in, bytes_out=stream.bytes_out)
        stream.bytes_in = stream.bytes_out = 0
        elapsed = round((time.perf_counter() - start) * 1000, 2)
        self._live.event("message", text=text, answer=answer, ms=elapsed)
