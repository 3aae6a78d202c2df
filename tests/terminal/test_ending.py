"""How a full-screen program ends by signals, hang-ups and crashes, and restores the terminal."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from support.pty import Pty, sample

LEAVE = b"\x1b[?1049l"


def assert_restored(terminal: Pty) -> None:
    """The terminal is restored."""
    assert terminal.settings() == terminal.before
    assert LEAVE in terminal.output


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_signals(number: signal.Signals) -> None:
    with sample("--line", "serial") as terminal:
        end = len(terminal.output)
        os.kill(terminal.pid, number)
        assert terminal.wait(2) == 128 + number
        assert len(terminal.output) - end <= 60
        assert_restored(terminal)


def test_a_program_that_is_stuck_ends_in_time() -> None:
    with sample("--line", "serial") as terminal:
        terminal.send(b"k")
        terminal.settle(0.2)
        start = time.monotonic()
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.wait(3) == 128 + signal.SIGTERM
        assert time.monotonic() - start < 2.2
        assert_restored(terminal)


def test_a_signal_during_start() -> None:
    with sample("--line", "serial", ready=None) as terminal:
        terminal.until(lambda: b"\x1b[?1049h" in terminal.output)
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.wait(2) == 128 + signal.SIGTERM
        assert_restored(terminal)


def test_the_line_hangs_up() -> None:
    with sample("--line", "serial") as terminal:
        start = time.monotonic()
        terminal.hang_up()
        assert terminal.wait_unread(3) == 128 + signal.SIGHUP
        assert time.monotonic() - start < 2


def test_the_line_hangs_up_and_nobody_is_told(tmp_path: Path) -> None:
    """With SIGHUP ignored, as under nohup, the end of the input also ends it; nothing spins."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with sample("--line", "serial") as terminal:
            terminal.hang_up()
            assert terminal.wait_unread(3) == 128 + signal.SIGHUP
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_line_nobody_reads_does_not_keep_us() -> None:
    with sample("--line", "fast", environment={"TERM": "xterm"}) as terminal:
        for _ in range(40):  # more than the line takes
            terminal.send(b"2")
            terminal.send(b"1")
            terminal.send(b"\x0c")
            time.sleep(0.01)
        start = time.monotonic()
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.wait_unread(3) == 128 + signal.SIGTERM
        assert time.monotonic() - start < 2.2
        assert terminal.settings() == terminal.before


def test_a_crash_is_two_lines(tmp_path: Path) -> None:
    log = tmp_path / "private" / "sample.log"
    with sample("--line", "serial", "--log", str(log)) as terminal:
        terminal.send(b"c")
        assert terminal.wait() == 5
        assert_restored(terminal)
        said = terminal.output.rpartition(LEAVE)[2].decode().strip().splitlines()
    assert said == [
        "sample: Unexpected error: the screen ended with ValueError",
        f"try: start it again and see {log}",
    ]
    text = log.read_text()
    assert "ValueError" in text
    assert "action_crash" in text


def test_keys_typed_for_us_are_not_left_to_the_shell() -> None:
    with sample("--line", "serial") as terminal:
        terminal.send(b"q\x1b[24;80Rrm -rf\r")
        assert terminal.wait() == 0
        os.set_blocking(terminal.slave, False)
        with pytest.raises(BlockingIOError):
            os.read(terminal.slave, 100)
