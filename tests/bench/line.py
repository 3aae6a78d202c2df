"""Bytes on the line, step by step: ours, the same console on Textual's own driver, and mc."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from support.pty import Pty

from bench.measure import print_heading
from tpmconsole.board import Board
from tpmconsole.board.certificates import demo_sign
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.board.sessions import start_session, stop_session
from tpmconsole.session.spec import SessionSpec
from tpmconsole.tpm.model import Algorithm
from tpmconsole.x509.request_spec import RequestSpec

STOCK = Path(__file__).with_name("stock_console.py")
QUIET_S = 0.6
IDLE_S = 10.0
BITS_A_BYTE = 10
# Name of the step, what is typed, and what the screen then shows.
CONSOLE_STEPS = (
    ("to Keys", b"2", "WHERE"),
    ("cursor down", b"\x1b[B", ""),
    ("open a dialog", b"c", "New key in the TPM"),
    ("close it", b"\x1b", ""),
    ("to Provision", b"3", "1 Key"),
    ("to Sessions", b"4", "SESSION"),
    ("to Doctor", b"5", "self-test"),
    ("to Overview", b"1", "Lock-out"),
)
MC_STEPS = (
    ("cursor down", b"\x1b[B", ""),
    ("open a dialog", b"\x1b7", "Create"),
    ("close it", b"\x1b\x1b", ""),
)


def bench(board: Board) -> None:
    """Print the tables; the board gets an identity, and a session while one is measured."""
    for name in ("gateway", "pump"):
        create_key(board, name, Algorithm.EC_P256)
    make_request(board, "gateway", RequestSpec("CN=gateway", ("dns:localhost",), "both"))
    demo_sign(board, "gateway")
    state = str(board.settings.state)
    ours = [sys.executable, "-m", "tpmconsole", "--simulate", "--state", state, "--line", "serial"]
    _measure("tpmconsole, its own driver, --line serial", ours, CONSOLE_STEPS, board)
    stock = [sys.executable, str(STOCK), state]
    _measure("tpmconsole on Textual's own driver", stock, CONSOLE_STEPS, None)
    if mc := shutil.which("mc"):
        _measure("mc, for scale", [mc, "-b", "-u", "-x"], MC_STEPS, None)


def _measure(
    title: str, command: list[str], steps: Sequence[tuple[str, bytes, str]], board: Board | None
) -> None:
    print_heading(f"{title} (80x24, vt220)")
    print(f"  {'step':<22}{'bytes':>8}{'s at 115200':>14}{'s at 9600':>12}{'CPU ms':>9}")
    terminal = Pty(command)
    try:
        terminal.until(lambda: len(terminal.output) > 0)
        terminal.settle(2 * QUIET_S)
        _row("start", len(terminal.output), terminal.cpu_seconds())
        for name, keys, text in steps:
            before, used = len(terminal.output), terminal.cpu_seconds()
            terminal.send(keys)
            terminal.until(text)
            terminal.settle(QUIET_S)
            _row(name, len(terminal.output) - before, terminal.cpu_seconds() - used)
        used = terminal.cpu_seconds()
        _row(f"idle, {IDLE_S:g} s", len(terminal.settle(IDLE_S)), terminal.cpu_seconds() - used)
        if board is not None:
            _session_update(terminal, board)
    finally:
        terminal.close()


def _session_update(terminal: Pty, board: Board) -> None:
    spec = SessionSpec(role="server", identity="gateway", host="localhost", port=0)
    server = start_session(board, spec)
    port = int(server.address.rpartition(":")[2])
    client = start_session(
        board, SessionSpec(role="client", identity="gateway", host="localhost", port=port)
    )
    try:
        terminal.step(b"4", client.id)
        terminal.settle(0.4)
        used, before = terminal.cpu_seconds(), len(terminal.output)
        terminal.until(lambda: len(terminal.output) > before)
        terminal.settle(0.4)
        _row("session update", len(terminal.output) - before, terminal.cpu_seconds() - used)
    finally:
        for one in (client, server):
            stop_session(board, one.id)


def _row(name: str, count: int, cpu_s: float) -> None:
    fast, slow = count * BITS_A_BYTE / 115200, count * BITS_A_BYTE / 9600
    print(f"  {name:<22}{count:>8}{fast:>14.3f}{slow:>12.2f}{cpu_s * 1e3:>9.0f}", flush=True)
