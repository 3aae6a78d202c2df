"""One TLS connection on asyncio streams, its handshake in the signing thread.

asyncio's own TLS would sign in the event loop, where a TPM that hangs stops every connection, and
keeps a server's failed handshakes to itself.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tpmconsole.session.signing import SigningThread
    from tpmconsole.session.tls import Engine

_CHUNK = 16 * 1024
_FAREWELL_S = 0.5


class LineTooLongError(Exception):
    """A peer sent more than a line may have without ending it."""


class TlsStream:
    """A connection.

    Args:
        reader: the plain stream's reading end.
        writer: its writing end; closed with this.
        context: ours.
        engine: asked for the real cause where a handshake fails.
        thread: where the handshake runs.
        host: whom a client verifies; None for a server.

    Attributes:
        handshake_ms: how long it took.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        engine: Engine,
        thread: SigningThread,
        host: str | None = None,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._engine, self._thread = engine, thread
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=host is None, server_hostname=host
        )
        self._buffer = bytearray()
        self.bytes_in = 0
        self.bytes_out = 0
        self.handshake_ms = 0.0

    async def handshake(self, timeout_s: float) -> None:
        """Shake hands.

        Args:
            timeout_s: for all of it.

        Raises:
            TimeoutError: not in time.
            ConsoleError: our key could not sign.
            OSError, EOFError: the network or TLS (ssl.SSLError) failed; the peer has been told.
        """
        start = time.perf_counter()
        async with asyncio.timeout(timeout_s):
            while not await self._thread.run(self._step):
                await self._flush()
                await self._receive()
            await self._flush()
        self.handshake_ms = (time.perf_counter() - start) * 1000

    def _step(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            failure = self._engine.take_failure()
            if failure is not None:
                raise failure from None
            raise
        return True

    async def read_line(self, limit: int, timeout_s: float) -> bytes:
        """The next line without its end; empty bytes and the end of the stream are told apart.

        Args:
            limit: bytes of the longest line.
            timeout_s: until the line is there.

        Raises:
            TimeoutError: not in time.
            EOFError: the peer has ended the connection.
            LineTooLongError: it is longer; what was received of it stays.
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

    async def read_all(self, limit: int, timeout_s: float) -> bytes:
        """Everything until the peer ends the connection, at most ``limit`` bytes.

        Raises:
            TimeoutError: not in time.
            OSError: the network or TLS failed.
        """
        async with asyncio.timeout(timeout_s):
            with suppress(EOFError):
                while len(self._buffer) < limit:
                    await self._fill()
        data, self._buffer = bytes(self._buffer[:limit]), bytearray()
        return data

    async def read_exactly(self, count: int, timeout_s: float) -> bytes:
        """So many bytes.

        Raises:
            TimeoutError: not in time.
            EOFError: the peer has ended the connection before.
            OSError: the network or TLS failed.
        """
        async with asyncio.timeout(timeout_s):
            while len(self._buffer) < count:
                await self._fill()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            OSError: the network failed.
        """
        self.tls.write(data)
        self.bytes_out += len(data)
        await self._flush()

    async def close(self) -> None:
        """Say goodbye as far as the peer listens, and close."""
        with suppress(OSError, ValueError):
            self.tls.unwrap()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await self._flush()
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                # Closing with bytes unread makes the kernel break the connection off, and the peer
                # may lose the alert that tells it why.
                while await self._reader.read(_CHUNK):
                    pass
        self.drop()

    def drop(self) -> None:
        """Close at once."""
        self._writer.close()

    async def _fill(self) -> None:
        try:
            data = self.tls.read(_CHUNK)
        except ssl.SSLWantReadError:
            # Reading can make TLS answer (a key update, RFC 8446, 4.6.3).
            await self._flush()
            await self._receive()
            return
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as error:
            raise EOFError from error
        if not data:
            raise EOFError
        self.bytes_in += len(data)
        self._buffer += data

    async def _receive(self) -> None:
        data = await self._reader.read(_CHUNK)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            self._writer.write(self._outgoing.read())
        await self._writer.drain()
