"""``python -m bench.soak``: hours of work in minutes, and nothing grows.

``SOAK_S`` seconds (600) of sessions that lose their connections again and again, after
``HANDSHAKES`` handshakes (10000) through one bridge. Ends with 1 where memory, descriptors or TPM
handles grew.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from support.pki import SoftwareIdentity, memory_handshake
from support.tpm_capture import captured, commands

from bench.measure import print_heading, print_row
from bench.worlds import LOCAL, World, port_of
from tpmconsole.board import Board
from tpmconsole.session.tls.bridge import Bridge
from tpmconsole.session.tls.context import BridgeEngine, make_context
from tpmconsole.settings import Settings
from tpmconsole.system.processes import family
from tpmconsole.tpm.signer import Signer

SOAK_S = float(os.environ.get("SOAK_S", "600"))
HANDSHAKES = int(os.environ.get("HANDSHAKES", "10000"))
SAMPLES = 60
# A connection holds some 30 kB of OpenSSL's; one lost a second for nine minutes would be 16 MB.
MOST_MEMORY = 1_500_000
# Those of connections that are open just now come and go.
MOST_DESCRIPTORS = 3
# Of what a handshake makes, the smallest that could be lost is a signature of 70 bytes; the heap
# itself grows by a few pages now and then.
MOST_PER_HANDSHAKE = 64
HEAP_PAGES = 200_000
HELD = (
    "CreatePrimary",
    "Load",
    "LoadExternal",
    "ContextLoad",
    "HashSequenceStart",
    "StartAuthSession",
)
FREED = ("FlushContext", "SequenceComplete")


def main() -> int:
    """Soak; 0 where nothing grew."""
    with tempfile.TemporaryDirectory(prefix="soak") as name:
        folder = Path(name)
        board = Board(Settings(state=folder / "state", simulate=True))
        try:
            world = World.make(board, folder)
            grew = [*_bridge(world), *_sessions(world)]
        finally:
            board.close(leave=True)
    print_heading("GREW: " + ", ".join(grew) if grew else "Nothing grew")
    return 1 if grew else 0


# One bridge


def _bridge(world: World) -> Iterator[str]:
    """Handshake after handshake with one key; tells what grew."""
    print_heading(f"{HANDSHAKES} handshakes through one bridge, EC P-256")
    file, trust = world.folder / "bridge.pcap", world.credentials.trust
    connection = captured(world.connection, file)
    log = world.folder / "signer.log"
    with Signer(lambda: connection, world.credentials.key, log=log) as signer:
        bridge = Bridge(signer.public_key(), signer.sign, signer.raw_rsa)
        ours = make_context(
            server=False,
            engine=BridgeEngine(bridge, world.credentials.certificate),
            trust=trust,
            crl=None,
            min_tls=None,
            max_tls=None,
        )
        theirs = world.peer.context(server=True)
        warm = max(100, HANDSHAKES // 10)
        for _ in range(warm):
            memory_handshake(ours, theirs)
        before, loaded = _costs([os.getpid()]), commands(file)
        start = time.perf_counter()
        for _ in range(HANDSHAKES - warm):
            memory_handshake(ours, theirs)
        each_ms = (time.perf_counter() - start) * 1e3 / (HANDSHAKES - warm)
        after, sent = _costs([os.getpid()]), commands(file)[len(loaded) :]
    grown = after.rss - before.rss
    print_row("one handshake", f"{each_ms:.2f} ms")
    most = MOST_PER_HANDSHAKE * (HANDSHAKES - warm) + HEAP_PAGES
    print_row(
        "memory kept of all of them", f"{grown / 1e3:.0f} kB", f"aim: at most {most / 1e3:.0f}"
    )
    print_row("descriptors", f"{before.descriptors} -> {after.descriptors}")
    print_row("TPM commands", f"{len(sent)}", ", ".join(sorted(set(sent))))
    file.unlink()
    if grown > most:
        yield "the bridge's memory"
    if after.descriptors > before.descriptors:
        yield "the bridge's descriptors"
    if sent != ["Sign"] * (HANDSHAKES - warm):
        yield "the bridge's TPM commands"


# Sessions


@dataclass(frozen=True)
class Costs:
    """What some processes hold."""

    rss: int
    descriptors: int
    threads: int


def _costs(pids: list[int]) -> Costs:
    """Of those processes and their children."""
    gc.collect()
    found = [psutil.Process(pid) for pid in family(pids)]
    return Costs(
        sum(one.memory_info().rss for one in found),
        sum(one.num_fds() for one in found),
        sum(one.num_threads() for one in found),
    )


def _sessions(world: World) -> Iterator[str]:
    """A server and two clients whose connections are cut all the time; tells what grew."""
    print_heading(f"Sessions for {SOAK_S:.0f} s whose connections are cut at random")
    captures = {name: world.folder / f"{name}.pcap" for name in ("server", "line", "https")}
    server = world.start("server", capture=captures["server"])
    with cutting(port_of(server)) as port, rudeness(port_of(server), world.peer):
        line = world.start("client", port, captures["line"], interval_s=0.02)
        # On one connection, which nobody cuts.
        direct = port_of(server)
        https = world.start("client", direct, captures["https"], interval_s=0.05, protocol="https")
        names = {"server": server.id, "line": line.id, "https": https.id}
        samples: dict[str, list[Costs]] = {name: [] for name in names}
        start = time.monotonic()
        for number in range(SAMPLES):
            _sleep_until(start + SOAK_S * (number + 1) / SAMPLES)
            for name, session in names.items():
                pid = world.supervisor.show(session).pid
                assert pid is not None
                samples[name].append(_costs([pid]))
        for name, session in names.items():
            facts = world.supervisor.show(session)
            print_row(
                f"{name}: handshakes, messages, reconnects",
                f"{facts.handshakes}, {facts.messages}, {facts.reconnects}",
                str(facts.state),
            )
            if facts.state.ended:
                yield f"{name}: it has ended"
    for session in names.values():
        world.supervisor.stop(session)
    for name, taken in samples.items():
        yield from _judge(name, taken)
        yield from _judge_handles(name, Counter(commands(captures[name])))
        kept = sum(
            one.stat().st_size for one in (world.folder / "sessions" / names[name]).rglob("*")
        )
        print_row(f"{name}: its folder", f"{kept / 1e6:.1f} MB")
        if kept > 4.5e6:
            yield f"{name}: its folder"


def _judge(name: str, taken: list[Costs]) -> Iterator[str]:
    """The second quarter against the last one: the first is for what is loaded once."""
    quarter = len(taken) // 4
    early, late = taken[quarter : 2 * quarter], taken[-quarter:]
    for what, most in (("rss", MOST_MEMORY), ("descriptors", MOST_DESCRIPTORS), ("threads", 0)):
        before = statistics.median(getattr(one, what) for one in early)
        after = statistics.median(getattr(one, what) for one in late)
        print_row(f"{name}: {what}", f"{before:.0f} -> {after:.0f}", f"aim: at most {most} more")
        if after - before > most:
            yield f"{name}: {what}"


def _judge_handles(name: str, sent: Counter[str]) -> Iterator[str]:
    held, freed = (sum(sent[one] for one in names) for names in (HELD, FREED))
    print_row(
        f"{name}: TPM objects loaded, taken out", f"{held}, {freed}", f"{sent['Sign']} signed"
    )
    if held != freed:
        yield f"{name}: TPM handles"


@contextmanager
def cutting(port: int) -> Iterator[int]:
    """A way to a port that is cut at random, in mid-handshake too; where it begins."""
    chance = random.Random(1)
    with socket.create_server((LOCAL, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                budget = chance.choice([600, 3000, 20_000, 50_000])
                threading.Thread(target=_pass_on, args=(near, port, budget), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def _pass_on(near: socket.socket, port: int, budget: int) -> None:
    """Both ways, until so many bytes have passed."""
    with near, suppress(OSError), socket.create_connection((LOCAL, port)) as far:
        other = {near: far, far: near}
        near.settimeout(30)
        far.settimeout(30)
        from select import select

        while budget > 0:
            for one in select([near, far], [], [], 30)[0]:
                data = one.recv(4096)
                if not data:
                    return
                budget -= len(data)
                other[one].sendall(data)


@contextmanager
def rudeness(port: int, peer: SoftwareIdentity) -> Iterator[None]:
    """A program that connects without a pause: says nothing, rubbish, or half a handshake."""
    over = threading.Event()
    context = peer.context(server=False)
    context.check_hostname = False

    def annoy() -> None:
        while not over.wait(0.1):
            with suppress(OSError):
                with socket.create_connection((LOCAL, port), 5) as plain:
                    plain.sendall(b"rubbish\n")
                with socket.create_connection((LOCAL, port), 5) as plain:
                    plain.sendall(bytes.fromhex("1603010005010000"))
                with (
                    socket.create_connection((LOCAL, port), 5) as plain,
                    context.wrap_socket(plain) as tls,
                ):
                    tls.sendall(b"PING 1\n")

    thread = threading.Thread(target=annoy, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main())
