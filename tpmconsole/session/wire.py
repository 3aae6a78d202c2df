"""A plain connection on asyncio that forgets nothing of what it has received.

asyncio's streams drop what they hold when a connection breaks off. A TLS alert is just that: the
last thing a peer says before it goes, and the only thing that tells why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

HELD_BYTES = 64 * 1024


class Wire(asyncio.Protocol):
    """One end of a connection.

    Args:
        made: called once it stands; for a server.
    """

    def __init__(self, made: Callable[[Wire], None] | None = None) -> None:
        self._made = made
        self._held = bytearray()
        self._at_end = False
        self._lost: Exception | None = None
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: it stands."""
        self.transport = cast("asyncio.Transport", transport)
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: something came."""
        self._held += data
        if len(self._held) > HELD_BYTES:
            self.transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        """asyncio: the peer sends no more; we still may."""
        self._at_end = True
        self._news.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: it is gone."""
        self._lost = exc
        self._at_end = True
        self._news.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """asyncio: the peer does not keep up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """asyncio: it does again."""
        self._writable.set()

    async def receive(self) -> bytes:
        """What has come; empty at the end.

        Raises:
            OSError: the connection broke off, and all that came before has been received.
        """
        while not self._held:
            if self._lost is not None:
                raise self._lost
            if self._at_end:
                return b""
            self._news.clear()
            await self._news.wait()
        data = bytes(self._held)
        self._held.clear()
        if not self._at_end:
            self.transport.resume_reading()
        return data

    async def send(self, data: bytes) -> None:
        """Send; where the connection is gone nothing happens, and ``receive`` tells why."""
        if self._lost is None and not self.transport.is_closing():
            self.transport.write(data)
        await self._writable.wait()

    async def close(self, patience_s: float) -> None:
        """Close when all is sent and the peer has closed too, or has had its time.

        Closing with bytes unread makes the kernel break the connection off, and the peer may lose
        what it has not read yet.
        """
        try:
            async with asyncio.timeout(patience_s):
                if not self.transport.is_closing():
                    self.transport.write_eof()
                while await self.receive():
                    pass
        except (OSError, TimeoutError):
            pass  # it is closed all the same
        finally:
            self.drop()

    def drop(self) -> None:
        """Close at once."""
        self.transport.abort()
