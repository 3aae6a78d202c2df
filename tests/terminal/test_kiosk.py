"""The kiosk on a serial line: the cost of its tour, and silence while no one uses it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pty import Pty

FIRST_PAINT, SWITCH, DIALOG, LEAVING = 3000, 2500, 1800, 60
ESCAPE, LEFT = b"\x1b", b"\x1b[D"
F3, F8 = b"\x1bOR", b"\x1b[19~"


@pytest.fixture
def kiosk(state: Path) -> Iterator[Pty]:
    rules = f"[kiosk]\nleave = {json.dumps(['f8', 'f8', 'x', 'f3', 'x'])}\n"
    (state / "tpmconsole.toml").write_text(rules)
    terminal = Pty(
        [
            *(sys.executable, "-m", "tpmconsole", "--kiosk", "--line", "serial"),
            *("--state", str(state)),
        ]
    )
    yield terminal
    terminal.close()


def test_the_tour_costs_a_serial_line_little_and_a_page_that_stays_nothing(kiosk: Pty) -> None:
    kiosk.until("Press Enter to begin")
    assert len(kiosk.output) <= FIRST_PAINT
    kiosk.until("SIMULATED")
    kiosk.settle(0.3)
    assert len(kiosk.step(b"?", "Everywhere")) <= DIALOG
    kiosk.step(ESCAPE, "Press Enter to begin")
    for last in ("as the chip reports", "INSIDE", "only this chip", "by the chip"):
        assert len(kiosk.step(b"\r", last)) <= SWITCH
        kiosk.settle(0.2)
    assert len(kiosk.step(LEFT, "only this chip")) <= SWITCH
    assert kiosk.settle(2.0) == b""
    leaving = kiosk.step(F8 + F8 + b"x" + F3 + b"x", kiosk.ended)
    assert len(leaving) <= SWITCH + LEAVING  # F3 opens a page on the way
    assert kiosk.wait() == 0
    assert kiosk.output.isascii()


def test_sigterm_ends_it_and_leaves_nothing(kiosk: Pty, state: Path) -> None:
    kiosk.until("Press Enter to begin")
    kiosk.step(b"\r", "as the chip reports")
    kiosk.step(b"\r", "INSIDE")
    os.kill(kiosk.pid, signal.SIGTERM)
    assert kiosk.wait(5) == 128 + signal.SIGTERM
    assert kiosk.settings() == kiosk.before
    assert not (state / "kiosk" / "identities").exists()
