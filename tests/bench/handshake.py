"""TLS handshakes with the TPM's key, against a software key and against OpenSSL's own client.

Every client meets the same peer, and the peer holds the watch: from its accept to the client's
Finished, which in TLS 1.3 comes after the client's signature.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from support.engine_alone import environment_for
from support.pki import Ca, SoftwareIdentity

from bench.measure import medians, print_heading, print_row, verdict
from tpmconsole.board import Board
from tpmconsole.errors import ConsoleError
from tpmconsole.session.tls.provider import child_environment
from tpmconsole.tpm.keys import private_key
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef

CHILD = Path(__file__).with_name("handshake_child.py")
ROUNDS = 5
BURST_S = 1
SIGNATURES = 60
MOST_PROVIDER, MOST_BRIDGE = 1.3, 1.0
OPENSSL = "OpenSSL's s_time"


def bench(board: Board) -> None:
    """Print latency and rate for each engine that works here, EC P-256 and TLS 1.3."""
    board.status()
    connection = board.tpm.connection
    assert connection is not None
    with tempfile.TemporaryDirectory(prefix="bench") as name, ExitStack() as stack:
        folder = Path(name)
        peer = furnish(folder, board)
        watch = stack.enter_context(peer_with_a_watch(peer.context(server=True)))
        ways, signature = _ways(folder, connection, watch.port, stack)
        found = {way: Figures() for way in ways}
        for _ in range(ROUNDS):  # in turns, so that a noisy machine is noisy for all
            for way, burst in ways.items():
                found[way].add(watch.during(burst))
        sign_s = medians({"one": signature}, SIGNATURES)["one"]
    print_heading("TLS 1.3 handshakes over loopback, EC P-256, one client without a pause")
    for way, figures in found.items():
        print_row(way, f"{figures.median_s * 1e3:.2f} ms", f"{figures.rate:.0f} a second")
    print_row("one signature alone", f"{sign_s * 1e3:.2f} ms")
    _judge(found)


def furnish(folder: Path, board: Board) -> SoftwareIdentity:
    """Key and certificate of the TPM and of a software client in a folder; the peer they meet."""
    pem = board.tpm.create(Algorithm.EC_P256)
    ca = Ca.make("bench CA")
    SoftwareIdentity.make(folder / "software", ca, "software")
    public = private_key(board.tpm, KeyRef(pem=pem)).public_key()
    (folder / "key.pem").write_bytes(pem)
    (folder / "certificate.pem").write_bytes(ca.issue(public, "tpm"))
    return SoftwareIdentity.make(folder / "peer", ca, "peer")


def _judge(found: Mapping[str, Figures]) -> None:
    software, reference = found["software key"], found.get(f"{OPENSSL}, provider")
    for engine, most in (("bridge", MOST_BRIDGE), ("provider", MOST_PROVIDER)):
        ours = found.get(engine)
        if ours is None:
            continue
        print_row(f"{engine} / software key", f"{ours.median_s / software.median_s:.2f}")
        if reference is not None:
            ratio = ours.median_s / reference.median_s
            print_row(
                f"{engine} / {OPENSSL}, provider, same key",
                f"{ratio:.2f}",
                verdict(ratio, most),
            )


@dataclass
class Figures:
    """What several bursts of handshakes took."""

    seconds: list[float] = field(default_factory=list)
    busy_s: float = 0.0

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def rate(self) -> float:
        """Handshakes a second."""
        return len(self.seconds) / self.busy_s

    def add(self, burst: list[tuple[float, float]]) -> None:
        """Add a burst: when each handshake began and ended."""
        self.seconds += [end - begin for begin, end in burst]
        self.busy_s += burst[-1][1] - burst[0][0]


def _ways(
    folder: Path, connection: Connection, port: int, stack: ExitStack
) -> tuple[dict[str, Callable[[], object]], Callable[[], float]]:
    """Every client that works here, as something that shakes hands for a second; a signature."""
    source = KeyRef(pem=(folder / "key.pem").read_bytes())
    plain = child_environment(connection) | {"TSS2_LOG": "all+none"}
    arguments = (str(folder), connection.tcti, str(port))

    def child(what: str, environment: Mapping[str, str]) -> Child:
        return stack.enter_context(Child((what, *arguments), environment))

    ways: dict[str, Callable[[], object]] = {}
    ways["software key"] = child("software", plain).once
    for engine in ("bridge", "provider"):
        try:
            environment = environment_for(engine, source, connection, folder)
        except ConsoleError as error:
            print_row(engine, "not here", error.cause)
            continue
        ways[engine] = child(engine, environment).once
        if engine == "provider":
            ways[f"{OPENSSL}, provider"] = _s_time(folder, folder / "key.pem", port, environment)
    software = folder / "software"
    ways[f"{OPENSSL}, software key"] = _s_time(software, software / "key.pem", port, plain)
    return ways, child("signature", plain).once


def _s_time(
    folder: Path, key: Path, port: int, environment: Mapping[str, str]
) -> Callable[[], object]:
    trust = next(folder.rglob("trust.pem"))
    command = [
        *(shutil.which("openssl") or "openssl", "s_time", "-new", "-time", str(BURST_S)),
        *("-connect", f"127.0.0.1:{port}", "-verify", "3", "-CAfile", str(trust), "-tls1_3"),
        *("-cert", str(folder / "certificate.pem"), "-key", str(key)),
    ]

    def burst() -> None:
        subprocess.run(command, env=dict(environment), capture_output=True, check=True, timeout=30)

    return burst


class Child:
    """A process that does its work once for every line it gets, and says how long it took."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD), *arguments],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def once(self, count: int | None = None) -> float:
        """One measurement, in seconds; of so many handshakes, or of a second full of them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n" if count is None else f"{count}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


class Watch:
    """Takes the time of every handshake with a peer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._taken: list[tuple[float, float]] = []

    def during(self, work: Callable[[], object]) -> list[tuple[float, float]]:
        """Begin and end of each handshake under load, without the first, which warms up."""
        self._taken.clear()
        work()
        return self._taken[1:]

    def took(self, begin: float) -> None:
        """A handshake has ended."""
        self._taken.append((begin, time.perf_counter()))


@contextmanager
def peer_with_a_watch(context: ssl.SSLContext) -> Iterator[Watch]:
    """A server with a software key that says one byte when it is satisfied."""
    context.num_tickets = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        watch = Watch(listener.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # closed: the benchmark is over
                    return
                begin = time.perf_counter()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as stream:
                    watch.took(begin)
                    stream.send(b".")

        threading.Thread(target=serve, daemon=True).start()
        yield watch
        listener.shutdown(socket.SHUT_RDWR)
