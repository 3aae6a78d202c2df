"""One TLS connection on asyncio, with its handshake in the signing thread.

asyncio's own TLS would sign in the event loop, so a TPM that hangs would stop every connection; and
it does not report a server's failed handshakes.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from tpmconsole.session.process.hello import Hello, asks_again
from tpmconsole.session.process.records import Records
from tpmconsole.session.tls.refused import with_certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from tpmconsole.session.process.prepare import Ready
    from tpmconsole.session.process.signing_thread import SigningThread
    from tpmconsole.session.process.tcp import Wire

_CHUNK = 16 * 1024
_FAREWELL_S = 0.5

_Answer = TypeVar("_Answer")


class LineTooLongError(Exception):
    """A peer sent a line that is longer than allowed."""


class TlsStream:
    """A connection.

    Args:
        wire: the plain connection; closed with this.
        ready: our context, and the engine that knows the real cause if a handshake fails.
        thread: runs the handshake.
        host: the name that a client verifies; None for a server.
        owner: the owner of the handshake's job in the thread.

    Attributes:
        handshake_ms: how long it took.
        is_farewell: the peer itself has ended the connection: its close_notify has arrived.
        is_silent: the peer has sent no byte at all, TLS or not.
    """

    def __init__(
        self,
        wire: Wire,
        ready: Ready,
        thread: SigningThread,
        host: str | None = None,
        owner: str | None = None,
    ) -> None:
        self._wire = wire
        self._owner = owner
        # A server waits for this before it signs; a client sends first.
        self._hello = Hello() if host is None else None
        self._hello_timeout_s: float | None = None
        self._engine, self._thread = ready.engine, thread
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ready.context.wrap_bio(
            self._incoming, self._outgoing, server_side=host is None, server_hostname=host
        )
        self._records = Records()
        self._buffer = bytearray()
        self._is_lent = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.handshake_ms = 0.0
        self.is_farewell = False
        self.is_silent = True

    @property
    def is_asked_anew(self) -> bool:
        """Whether the peer asked to renegotiate (TLS 1.2), which OpenSSL has refused for us."""
        return self._records.ask_anew

    async def handshake(self, timeout_s: float, hello_timeout_s: float | None = None) -> None:
        """Do the handshake.

        A server does nothing for an incomplete ClientHello, and signs nothing for a peer that has
        gone while its job was queued.

        Args:
            timeout_s: for the whole handshake.
            hello_timeout_s: for a server, until a whole ClientHello has arrived.

        Raises:
            TimeoutError: it was not done in time.
            ConsoleError: our key could not sign.
            OSError, EOFError: the network or TLS (ssl.SSLError) failed; the peer has been notified.
        """
        start = time.perf_counter()
        async with asyncio.timeout(timeout_s):
            if self._hello is not None:
                self._hello_timeout_s = hello_timeout_s
                self._await_hello()
                await self._receive_flight()
            while not await self._lend(self._step):
                self._take_note(await self._flush())
                await self._receive_flight()
            await self._flush()
        self.handshake_ms = (time.perf_counter() - start) * 1000

    def _await_hello(self) -> None:
        wait_s = self._hello_timeout_s
        due = None if wait_s is None else asyncio.get_running_loop().time() + wait_s
        self._hello = Hello(due)

    def _take_note(self, flight: bytes) -> None:
        # Without an answer from us, what has arrived was not yet a whole hello.
        if self._hello is not None and flight:
            self._hello = None
            if asks_again(flight):
                self._await_hello()

    async def _receive_flight(self) -> None:
        async with asyncio.timeout_at(None if self._hello is None else self._hello.due):
            while data := await self._receive():
                if self._hello is None or self._hello.feed(data):
                    return
        if self._hello is not None:
            raise _ended()

    async def _lend(self, job: Callable[[], _Answer]) -> _Answer:
        """Run a job that may sign in the signing thread."""
        # If the wait is cancelled, the thread continues: only it may then use the connection.
        self._is_lent = True
        try:
            done = await self._thread.run(job, self._owner)
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._is_lent = False
            raise
        self._is_lent = False
        return done

    def _step(self) -> bool:
        if self._hello is not None:
            self._check_peer()
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self._raise_cause(error)
            if isinstance(error, ssl.SSLCertVerificationError):
                raise with_certificate(error, self.tls.context) from None
            raise
        return True

    def _raise_cause(self, error: ssl.SSLError) -> None:
        failure = self._engine.cause_of(error)
        if failure is not None:
            raise failure from None

    def _check_peer(self) -> None:
        # Not in later steps: they sign nothing, and a peer that has gone may have said why.
        try:
            self._wire.check_peer()
        except EOFError:
            raise _ended() from None

    async def read_line(self, limit: int, timeout_s: float) -> bytes:
        """Return the next line without its end; an empty line differs from the end of the stream.

        Args:
            limit: bytes of the longest line.
            timeout_s: until the whole line has arrived.

        Raises:
            TimeoutError: it did not arrive in time.
            EOFError: the peer has ended the connection.
            LineTooLongError: it is longer; the part received so far is kept.
            OSError: the network or TLS failed.
        """
        async with asyncio.timeout(timeout_s):
            while b"\n" not in self._buffer:
                if len(self._buffer) > limit:
                    raise LineTooLongError
                await self._fill()
        line, _, rest = self._buffer.partition(b"\n")
        if len(line) > limit:
            raise LineTooLongError
        self._buffer = bytearray(rest)
        return bytes(line).removesuffix(b"\r")

    async def read_some(self) -> bytes:
        """Return what has arrived and was not read yet; wait for it if necessary.

        Raises:
            EOFError: the peer has ended the connection.
            OSError: the network or TLS failed.
        """
        while not self._buffer:
            await self._fill()
        data, self._buffer = bytes(self._buffer), bytearray()
        return data

    def is_quiet(self) -> bool:
        """Whether nothing has arrived that was not read, not even a close_notify."""
        return not self._buffer and not self._incoming.pending and self._wire.is_quiet()

    async def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            OSError: the network failed.
        """
        self.tls.write(data)
        self.bytes_out += len(data)
        await self._flush()

    async def close(self) -> None:
        """Send a close_notify, if the peer still reads, and close."""
        if self._is_lent:
            self.drop()
            return
        with suppress(OSError, ValueError):
            self.tls.unwrap()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await self._flush()
        await self._wire.close(_FAREWELL_S)

    def drop(self) -> None:
        """Close at once."""
        self._wire.drop()

    async def _fill(self) -> None:
        # A client may be asked for its certificate here (RFC 8446, 4.6.2), and then signs.
        signs = self.tls.context.post_handshake_auth
        data = await self._lend(self._read_and_sign) if signs else self._read()
        # Reading can make TLS answer, for example to a key update (4.6.3).
        await self._flush()
        if data is None:
            await self._receive()
            return
        self.bytes_in += len(data)
        self._buffer += data

    def _read(self) -> bytes | None:
        """Return what has arrived; None if there is nothing yet."""
        try:
            data = self.tls.read(_CHUNK)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLEOFError as error:
            raise EOFError from error
        if not data:  # its close_notify has come
            self.is_farewell = True
            raise EOFError
        return data

    def _read_and_sign(self) -> bytes | None:
        try:
            return self._read()
        except ssl.SSLError as error:
            self._raise_cause(error)
            raise

    async def _receive(self) -> bytes:
        data = await self._wire.receive()
        if data:
            self.is_silent = False
            self._records.feed(data)
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return data

    async def _flush(self) -> bytes:
        data = self._outgoing.read()
        if data:
            await self._wire.send(data)
        return data


def _ended() -> ssl.SSLEOFError:
    """The error that OpenSSL would raise if the peer closes in the middle of the handshake."""
    return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the peer closed in the middle of the handshake")
