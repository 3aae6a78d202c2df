"""A server session with 1 to 200 clients at once: held, answered, and what each costs."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import psutil

from bench.load import Clients
from bench.measure import print_heading
from bench.worlds import World, port_of
from tpmconsole.board import Board

COUNTS = (1, 10, 50, 200)
TALK_S = 2.0


def bench(board: Board) -> None:
    """Print a row for each number of clients; a new server for each."""
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        world = World.make(board, Path(name))
        print_heading("A server session and its clients at once (EC P-256, software clients)")
        print(f"  {'clients':>8}{'held':>8}{'opened in s':>14}{'messages/s':>13}{'kB/client':>12}")
        for count in COUNTS:
            _row(world, count)


def _row(world: World, count: int) -> None:
    server = world.start("server")
    try:
        assert server.pid is not None
        process = psutil.Process(server.pid)
        held, opened_s, messages, grown = asyncio.run(_load(world, port_of(server), count, process))
        missed = "" if held == count else "   MISSED: not all were held"
        print(
            f"  {count:>8}{held:>8}{opened_s:>14.2f}{messages / TALK_S:>13.0f}"
            f"{grown / count / 1e3:>12.0f}{missed}",
            flush=True,
        )
    finally:
        world.supervisor.stop(server.id)


async def _load(
    world: World, port: int, count: int, process: psutil.Process
) -> tuple[int, float, int, int]:
    context = world.peer.context(server=False)
    context.check_hostname = False
    first = Clients(port, context)
    await first.open(1)  # what the first one loads is not what each costs
    await first.close()
    before = process.memory_info().rss
    clients = Clients(port, context)
    try:
        opened_s = await clients.open(count)
        messages = await clients.talk(TALK_S)
        held = await clients.alive()
        return held, opened_s, messages, process.memory_info().rss - before
    finally:
        await clients.close()
