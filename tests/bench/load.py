"""Software clients of a line server, many at once on one event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from itertools import cycle

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PATIENCE_S = 60.0
# As many as wait in a server's queue without being refused.
AT_ONCE = 32
# A server gives one address a quarter of its places.
SOURCES = tuple(f"127.0.0.{number}" for number in range(1, 5))


class Clients:
    """So many clients of one server, which stay until they are closed."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port = port
        self._context = context
        self._sources = cycle(SOURCES)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._open: list[Opened] = []

    async def open(self, count: int) -> float:
        """Connect and be answered once, all of them; seconds until the last one was."""
        start = asyncio.get_running_loop().time()
        await asyncio.gather(*(self._one() for _ in range(count)))
        return asyncio.get_running_loop().time() - start

    async def talk(self, seconds: float) -> int:
        """All of them send one message after the other; how many were answered."""
        end = asyncio.get_running_loop().time() + seconds
        return sum(await asyncio.gather(*(self._until(one, end) for one in self._open)))

    async def alive(self) -> int:
        """How many of them are still answered."""
        answers = await asyncio.gather(*map(ask, self._open), return_exceptions=True)
        return sum(answer is None for answer in answers)

    async def close(self) -> None:
        """Go."""
        for _, writer in self._open:
            writer.close()
        closing: list[Awaitable[None]] = [writer.wait_closed() for _, writer in self._open]
        await asyncio.gather(*closing, return_exceptions=True)
        self._open.clear()

    async def _one(self) -> None:
        async with self._gate:
            opened = await asyncio.open_connection(
                *("127.0.0.1", self._port),
                ssl=self._context,
                ssl_handshake_timeout=PATIENCE_S,
                local_addr=(next(self._sources), 0),
            )
            await ask(opened)
        self._open.append(opened)

    async def _until(self, one: Opened, end: float) -> int:
        done = 0
        while asyncio.get_running_loop().time() < end:
            await ask(one)
            done += 1
        return done


async def ask(one: Opened) -> None:
    """Send a message and wait for its answer.

    Raises:
        ConnectionError: it is another one.
    """
    reader, writer = one
    writer.write(b"PING 1\n")
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.readline()
    if answer != b"PONG 1\n":
        raise ConnectionError(answer)
