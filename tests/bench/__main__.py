"""``python -m bench``: every table, one after the other."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import (
    attack,
    commands,
    emulated,
    flash,
    fleet,
    handshake,
    keys,
    line,
    server,
    start,
    status,
)
from tpmconsole.board import Board
from tpmconsole.settings import Settings


def main() -> None:
    """Take the figures on a simulated TPM of their own."""
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        settings = Settings(state=Path(name), simulate=True)
        board = Board(settings)
        try:
            start.bench(settings)
            status.bench(board)
            keys.bench(board)
            handshake.bench(board)
            commands.bench(board)
            server.bench(board)
            attack.bench()
            flash.bench(board)
            line.bench(board)
            fleet.bench()
            emulated.bench()
        finally:
            board.close(leave=True)


main()
