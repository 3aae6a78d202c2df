"""The terminal of ``make board``, and the README that the board is built from: without a board."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from emulated import machine, readme

# A board that is only a serial line; what came over it is printed at the end.
_BOARD = """
import socket
from emulated.__main__ import be_its_terminal

class Board:
    line, far = socket.socketpair()
    running = True

Board.far.sendall(b"login: ")
be_its_terminal(Board)
print("typed", Board.far.recv(100), end=";")
"""


def _read_until(terminal: int, end: bytes) -> bytes:
    output = b""
    while not output.endswith(end):
        output += os.read(terminal, 1000)
    return output


def test_keys_go_to_the_board_and_ctrl_bracket_leaves_the_terminal_as_it_was() -> None:
    terminal, inside = pty.openpty()
    before = termios.tcgetattr(inside)
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", _BOARD]
    board = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, cwd=tests)
    try:
        _read_until(terminal, b"login: ")
        assert not termios.tcgetattr(inside)[3] & termios.ECHO
        # Ctrl-C goes to the board.
        os.write(terminal, b"root\r\x03\x1dnot this")
        assert _read_until(terminal, b";") == b"typed b'root\\r\\x03';"
        assert board.wait(20) == 0
        assert termios.tcgetattr(inside) == before
    finally:
        board.kill()
        board.wait()
        os.close(terminal)
        os.close(inside)


@pytest.mark.parametrize(
    ("release", "its", "other"),
    [("trixie", "libtss2-policy0t64", "fapi"), ("bookworm", "libtss2-fapi1", "policy")],
)
def test_the_readme_installs_on_each_release(release: str, its: str, other: str) -> None:
    commands = readme.installation(release)
    text = "\n".join(commands)
    assert its in text
    assert other not in text
    for step in (r"apt-get install .*python3-venv", r"/pip install \.", "usermod -aG tss"):
        assert re.search(step, text), f"{step} is missing:\n{text}"
    assert commands[-1].startswith("tpmconsole install serial-console")


@pytest.mark.parametrize(
    ("flags", "device", "chosen"),
    [("fpu svm", True, "kvm:tcg"), ("fpu", True, "tcg"), ("fpu vmx", False, "tcg")],
)
def test_kvm_runs_the_board_only_where_the_processor_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, device: bool, chosen: str
) -> None:
    monkeypatch.delenv("BOARD_ACCELERATOR", raising=False)
    monkeypatch.setattr(machine, "CPU", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "KVM", tmp_path / "kvm")
    machine.CPU.write_text(f"model name : a\nflags : {flags}\n")
    if device:
        machine.KVM.touch()
    assert machine.chosen_accelerator() == chosen
