"""A server on a slow chip, and a peer without a certificate who wants to close it for others."""

from __future__ import annotations

import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from faults.proxy import SIGN, Fault, PassOn, Proxy, code_of
from support.swtpm import SwtpmAlone
from support.world import connected, say

from bench.measure import print_heading, print_row, verdict
from bench.worlds import LOCAL, World, port_of
from tpmconsole.board import Board
from tpmconsole.settings import Settings

SIGNATURE_S = 0.15
ROUNDS = 15
SILENT = 256
SILENT_AGAIN_S = 1.0
HELLOS_A_SECOND = 10
STAYING = 64
MOST = 3.0
# One address each, so that no client uses up the places of another.
SILENT_FROM, ABORTED_FROM, STAYING_FROM = "127.0.0.2", "127.0.0.3", "127.0.0.4"


def bench() -> None:
    """Print how long a client takes from its connect to its first answer, alone and beside them."""
    print_heading(
        f"From a client's connect to its first answer, {SIGNATURE_S * 1e3:.0f} ms a signature "
        "(median, slowest)"
    )
    with tempfile.TemporaryDirectory(prefix="bench") as name, slow_world(Path(name)) as world:
        server = world.start("server", engine="bridge")
        try:
            _rows(world, port_of(server))
        finally:
            world.supervisor.stop(server.id)


def _rows(world: World, port: int) -> None:
    hello = hello_of(world)
    alone = statistics.median(_times(world, port))
    print_row("undisturbed", f"{alone:.2f} s")
    silent = Attack(port, SILENT_FROM, b"", SILENT)
    aborted = Attack(port, ABORTED_FROM, hello)
    staying = Attack(port, STAYING_FROM, hello, STAYING)
    for what, attacks, most in (
        (f"{SILENT} silent connections", [silent], MOST),
        (f"{HELLOS_A_SECOND} aborted hellos a second", [aborted], MOST),
        ("both", [silent, aborted], MOST),
        # Before each of a handshake's two steps, a signature for each address that wants one.
        (f"both, and {STAYING} hellos that stay", [silent, aborted, staying], None),
    ):
        with ExitStack() as stack:
            for attack in attacks:
                stack.enter_context(attack.running())
            found = _times(world, port)
        middle, slowest = statistics.median(found), max(found)
        times = f"{middle / alone:.1f}, {slowest / alone:.1f} times"
        aim = "" if most is None else f"; {verdict(slowest / alone, most)}"
        print_row(what, f"{middle:.2f}, {slowest:.2f} s", times + aim)


def _times(world: World, port: int) -> list[float]:
    return [_time(world, port) for _ in range(ROUNDS)]


def _time(world: World, port: int) -> float:
    context = world.peer.context(server=False)
    start = time.perf_counter()
    with connected(world.peer, port, context) as tls:
        say(tls, "PING 1")
        return time.perf_counter() - start


@contextmanager
def slow_world(folder: Path) -> Iterator[World]:
    """A world on a TPM of its own whose signatures take as long as a real chip's."""
    swtpm = SwtpmAlone(folder)
    swtpm.start()
    between = Proxy(folder / "proxy", folder / "sock")
    board = Board(Settings(state=folder / "state", tcti=between.tcti))
    try:
        world = World.make(board, folder)
        between.spoil(slow_signatures())
        yield world
    finally:
        board.close(leave=True)
        between.close()
        swtpm.kill()


def slow_signatures() -> Fault:
    """A chip that is slow where chips are."""

    def fault(command: bytes, pass_on: PassOn) -> bytes:
        if code_of(command) == SIGN:
            time.sleep(SIGNATURE_S)  # what is measured, not a wait of the benchmark
        return pass_on(command)

    return fault


def hello_of(world: World) -> bytes:
    """A ClientHello that a server answers with a signature."""
    said = ssl.MemoryBIO()
    tls = world.peer.context(server=False).wrap_bio(ssl.MemoryBIO(), said, server_hostname=LOCAL)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return said.read()


class Attack:
    """Connections of one address that say the same, by a thread that opens them again and again.

    Args:
        said: what each says.
        kept: how many stay open; 0 for some a second that go as soon as they have spoken.
    """

    def __init__(self, port: int, source: str, said: bytes, kept: int = 0) -> None:
        self._port, self._source, self._said, self._kept = port, source, said, kept
        self._open: list[socket.socket] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Attack meanwhile."""
        over, begun = threading.Event(), threading.Event()
        thread = threading.Thread(target=self._work, args=(over, begun))
        thread.start()
        begun.wait()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _work(self, over: threading.Event, begun: threading.Event) -> None:
        pause = SILENT_AGAIN_S if self._kept else 1 / HELLOS_A_SECOND
        while True:
            self._open = [one for one in self._open if _stays(one)]
            for _ in range(max(1, self._kept - len(self._open))):
                with suppress(OSError):
                    self._join()
            begun.set()
            if over.wait(pause):
                break
        for one in self._open:
            one.close()
        self._open.clear()

    def _join(self) -> None:
        plain = socket.create_connection((LOCAL, self._port), 5, (self._source, 0))
        plain.sendall(self._said)
        if self._kept:
            plain.setblocking(False)
            self._open.append(plain)
        else:
            plain.close()


def _stays(plain: socket.socket) -> bool:
    """Whether the server has kept a connection; closes it if not."""
    try:
        while plain.recv(4096):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    plain.close()
    return False
