"""TPM commands for a handshake, counted and not timed: what a slow chip's time depends on."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from support.engine_alone import environment_for
from support.tpm_capture import captured, commands

from bench.handshake import Child, furnish, peer_with_a_watch
from bench.measure import print_heading, print_row, verdict
from tpmconsole.board import Board
from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.model import KeyRef

HANDSHAKES = 20
MOST_BRIDGE = 1.0


def bench(board: Board) -> None:
    """Print the number for each engine that works here, and which commands they are."""
    board.status()
    connection = board.tpm.connection
    assert connection is not None
    print_heading("TPM commands for one TLS 1.3 handshake, EC P-256 (counted)")
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        peer = furnish(folder, board)
        source = KeyRef(pem=(folder / "key.pem").read_bytes())
        with peer_with_a_watch(peer.context(server=True)) as watch:
            for engine in ("bridge", "provider"):
                file = folder / f"{engine}.pcap"
                try:
                    environment = environment_for(engine, source, connection, folder)
                except ConsoleError as error:
                    print_row(engine, "not here", error.cause)
                    continue
                watched = captured(connection, file)
                environment |= watched.environment
                if "TPM2OPENSSL_TCTI" in environment:
                    environment["TPM2OPENSSL_TCTI"] = watched.tcti
                arguments = (engine, str(folder), watched.tcti, str(watch.port))
                with Child(arguments, environment) as child:
                    child.once(1)  # the first one loads what later ones use
                    before = commands(file)
                    child.once(HANDSHAKES)
                    sent = Counter(commands(file)[len(before) :])
                _print(engine, sent)


def _print(engine: str, sent: Counter[str]) -> None:
    each = sum(sent.values()) / HANDSHAKES
    print_row(engine, f"{each:.2f}", verdict(each, MOST_BRIDGE) if engine == "bridge" else "")
    for command, count in sent.most_common():
        print_row(f"    {command}", f"{count / HANDSHAKES:.2f}")
