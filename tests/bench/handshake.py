"""A TLS handshake with the TPM's key against one with a software key, with the same peer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from session.session_pki import Ca, SoftwareIdentity

from bench.measure import medians, print_heading, print_row, verdict
from tpmconsole.board import Board
from tpmconsole.errors import ConsoleError
from tpmconsole.session.engine import choose
from tpmconsole.session.provider import child_environment
from tpmconsole.tpm.model import Algorithm, Connection, KeySource

CHILD = Path(__file__).with_name("handshake_child.py")
ROUNDS = 60
MOST = 1.4


def bench(board: Board) -> None:
    """Print the handshake's time for each engine that works here, EC P-256 and TLS 1.3."""
    board.status()
    connection = board.tpm.connection
    assert connection is not None
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        pem = board.tpm.create(Algorithm.EC_P256)
        ca = Ca.make("bench CA")
        peer = SoftwareIdentity.make(folder / "peer", ca, "peer")
        SoftwareIdentity.make(folder / "software", ca, "software")
        public = board.tpm.private_key(KeySource(pem=pem)).public_key()
        (folder / "key.pem").write_bytes(pem)
        (folder / "certificate.pem").write_bytes(ca.issue(public, "tpm"))
        with _peer(peer.context(server=True)) as port:
            for engine in ("bridge", "provider"):
                print_heading(f"One TLS 1.3 handshake over loopback, EC P-256, engine {engine}")
                try:
                    _compare(engine, folder, connection, port)
                except ConsoleError as error:
                    print_row("not here", "-", error.cause)


def _compare(engine: str, folder: Path, connection: Connection, port: int) -> None:
    key = KeySource(pem=(folder / "key.pem").read_bytes())
    chosen = choose(engine, key, connection)
    plain = child_environment(connection) | {"TSS2_LOG": "all+none"}
    configured = dict(plain)
    if chosen.openssl_conf:
        (folder / "openssl.cnf").write_text(chosen.openssl_conf)
        configured["OPENSSL_CONF"] = str(folder / "openssl.cnf")
        configured["TPM2OPENSSL_TCTI"] = connection.tcti
    arguments = (str(folder), connection.tcti, str(port))
    with (
        _Child(("software", *arguments), plain) as software,
        _Child((engine, *arguments), configured) as tpm,
        _Child(("signature", *arguments), plain) as signature,
    ):
        ways = {"software": software.once, "tpm": tpm.once, "signature": signature.once}
        times = medians(ways, ROUNDS)
    print_row("software key", f"{times['software'] * 1e3:.2f} ms")
    print_row("key in the TPM", f"{times['tpm'] * 1e3:.2f} ms")
    print_row("one signature", f"{times['signature'] * 1e3:.2f} ms")
    ratio = (times["tpm"] - times["signature"]) / times["software"]
    print_row("(TPM less one signature) / software", f"{ratio:.2f}", verdict(ratio, MOST))


class _Child:
    """A process that takes one measurement for every line it gets."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD), *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def once(self) -> float:
        """One measurement, in seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@contextlib.contextmanager
def _peer(context: ssl.SSLContext) -> Iterator[int]:
    """A server with a software key that says one byte when it is satisfied; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # closed: the benchmark is over
                    return
                with context.wrap_socket(connection, server_side=True) as stream:
                    stream.send(b".")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
