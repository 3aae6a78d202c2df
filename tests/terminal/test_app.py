"""A whole app on a pseudo-terminal: what it sends, and what it survives on the screen."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pty import Pty, sample

from tpmconsole.ui.terminal.output.grid import to_ascii

QUERIES = (b"\x1b[6n", b"\x1b[c", b"\x1b[5n", b"$p", b"\x1b[>", b"\x1b]")


@pytest.fixture(scope="module")
def shared() -> Iterator[Pty]:
    """One sample app for all tests that leave it running."""
    with sample("--line", "serial") as terminal:
        yield terminal


@pytest.fixture
def serial(shared: Pty) -> Pty:
    """The shared app as it was at its start."""
    assert not shared.ended(), "an earlier test has ended the app"
    shared.step(b"\x12", "sample  ready")
    return shared


@pytest.fixture
def own() -> Iterator[Pty]:
    """An app of the test's own."""
    with sample("--line", "serial") as terminal:
        yield terminal


def test_bytes_of_each_step(own: Pty) -> None:
    """The budgets of a serial line, on an app with what the console is made of."""
    assert len(own.output) <= 3000
    assert not any(query in own.output for query in QUERIES)
    assert len(own.step(b"\x1b[B", "key down")) <= 200
    assert len(own.step(b"\x1b[B")) <= 150
    assert len(own.step(b"2", "Line 18")) <= 2500
    assert len(own.step(b"1", "key-00")) <= 2500
    assert len(own.step(b"m", "Remove")) <= 1800
    assert len(own.step(b"\x1b", lambda: "Remove" not in own.text)) <= 2500
    assert len(own.step(b"u", "count 1")) <= 150
    end = len(own.output)
    own.send(b"q")
    assert own.wait() == 0
    assert len(own.output) - end <= 60
    assert own.settings() == own.before
    assert own.output.isascii()


def test_a_table_that_scrolls(serial: Pty) -> None:
    serial.step(b"\x1b[B" * 22, "key-22")
    assert "key-23" not in serial.text
    assert len(serial.step(b"\x1b[B", "key-23")) <= 260


def test_idle_is_silent_and_asleep(serial: Pty) -> None:
    before = serial.cpu_seconds()
    assert serial.pump(1.0) == b""
    assert serial.cpu_seconds() - before <= 0.02


def test_the_screen_is_what_the_stock_driver_shows() -> None:
    screens = []
    for arguments in (("--line", "serial"), ("--line", "serial", "--stock")):
        with sample(*arguments) as terminal:
            shown = [_in_ascii(terminal)]
            for key, text in ((b"2", "Line 18"), (b"1", "key-00"), (b"m", "Remove")):
                terminal.step(key, text)
                shown.append(_in_ascii(terminal))
            screens.append(shown)
            assert terminal.output.count(b"\x1b[?1049h") == 1
    assert screens[0] == screens[1]


def test_repaint_mends_the_screen_and_the_terminal(serial: Pty) -> None:
    before = serial.text
    noise = b"\x1b[2J\x1b[41m kernel: something happened \x1b[?25h"
    serial._stream.feed(noise)
    assert serial.text != before
    sent = serial.step(b"\x0c", lambda: serial.text == before)
    assert sent.count(b"\x1b[6n") == 1, "asks for the size"
    assert b"\x1b[?25l" in sent
    assert b"\x1b[?1049h" not in sent
    assert len(sent) <= 3000


def test_resizing() -> None:
    with sample("--line", "fast", environment={"TERM": "xterm"}) as terminal:
        for columns, rows in ((132, 43), (60, 15), (80, 24)):
            terminal.resize(columns, rows)
            terminal.until(lambda: "1 Table" in terminal.screen.display[-1])
            terminal.settle()
            assert "sample  ready" in terminal.screen.display[0]
            assert terminal.screen.display[1].startswith(" Name")


@pytest.mark.parametrize(
    ("answer", "rows"), [((40, 132), 40), ((999, 999), 24), (None, 24)], ids=str
)
def test_the_size_of_a_line_that_does_not_know_it(
    answer: tuple[int, int] | None, rows: int
) -> None:
    with sample("--line", "serial", columns=0, rows=0, answer=answer, ready=None) as terminal:
        terminal.screen.resize(rows, 132)
        terminal.until(lambda: "1 Table" in terminal.screen.display[rows - 1])
        terminal.settle()
        assert terminal.output.count(b"\x1b[6n") == 1
        assert terminal.output.count(b"sample  ready") == 1, "no frame of a wrong size before"


def test_asking_for_the_size_again(own: Pty) -> None:
    own._answer = (30, 100)
    own.screen.resize(30, 100)
    own.step(b"\x0c", lambda: "1 Table" in own.screen.display[29])


def test_a_terminal_that_reports_its_size_unasked(own: Pty) -> None:
    own.screen.resize(30, 100)
    own.step(b"\x1b[48;30;100;600;800t", lambda: "1 Table" in own.screen.display[29])


def test_columns_and_lines_are_not_believed() -> None:
    with sample("--line", "serial", environment={"COLUMNS": "30", "LINES": "10"}) as terminal:
        assert terminal.screen.display[23].startswith("1 Table")


def test_suspend_and_resume(serial: Pty) -> None:
    before = serial.text
    serial.send(b"z")
    serial.until(lambda: serial.output.endswith(b"\x1b[?1049l"))
    serial.until(lambda: _state(serial.pid) == "T")
    assert serial.settings() == serial.before
    os.kill(serial.pid, signal.SIGCONT)
    serial.until(lambda: serial.text == before)
    assert serial.settings() != serial.before
    serial.step(b"u", "count 1")


def test_lending_the_terminal_to_another_program(serial: Pty) -> None:
    before = serial.text
    sent = serial.step(b"x", lambda: b" icanon" in serial.output and serial.text == before)
    left, _, rest = sent.partition(b"speed ")
    assert left.endswith(b"\x1b[?1049l"), "alone on the restored terminal"
    assert b" echo " in rest
    assert b"\x1b[?1049h" in rest
    serial.step(b"u", "count 1")


def test_stopped_by_force_and_continued(serial: Pty) -> None:
    os.kill(serial.pid, signal.SIGSTOP)
    serial.until(lambda: _state(serial.pid) == "T")
    serial._stream.feed(b"\x1b[2J$ ls\r\n")
    os.kill(serial.pid, signal.SIGCONT)
    serial.until(lambda: "$ ls" not in serial.text and "key-01" in serial.text)


def test_noise_is_not_typed(serial: Pty) -> None:
    serial.step(b"\xff\x80\x11\x13\x00\xfe")
    serial.step(b"\x1b[?62;1;2c\x1b[24;80R\x1b]11;rgb:0/0/0\x07\x1bP1$r0m\x1b\\")
    assert "sample  ready" in serial.text
    serial.step(b"\x11u", "count 1")


def test_a_pasted_pem_triggers_nothing(serial: Pty) -> None:
    pem = (
        b"-----BEGIN CERTIFICATE-----\r" + b"mMqQcCkKzZuU12\r" * 20 + b"-----END CERTIFICATE-----\r"
    )
    for start in range(0, len(pem), 16):  # as a serial line delivers it
        serial.send(pem[start : start + 16])
        time.sleep(0.001)
    serial.until(f"pasted {len(pem)}")
    serial.step(b"u", "count 1")
    serial.step(b"\x1b[200~" + pem + b"\x1b[201~", f"pasted {len(pem)}")
    assert "Remove" not in serial.text
    serial.step(b"i")
    serial.step(b"\x1b[200~CN=board\x1b[201~", "CN=board")
    serial.step(b"\r", "typed CN=board")


def test_escape_alone_is_a_key(serial: Pty) -> None:
    serial.step(b"\x1b", "key escape")
    serial.step(b"\x1b[17~", "key f6")
    serial.step(b"\x1bOP", "key f1")


def test_keys_that_come_together_stay_in_order(serial: Pty) -> None:
    """Typed while the app was busy, or sent by a script."""
    serial.step(b"iabcx\x7f\x7fyz\x1b[Dw\r", "typed abywz")


def test_letters_outside_ascii_stay_off_a_serial_line(serial: Pty) -> None:
    serial.step(b"i")
    serial.step("é世│x".encode(), "???|x")
    serial.send(b"\r")
    serial.until("typed ???|x")
    assert serial.output.isascii()


def test_letters_on_a_fast_line() -> None:
    with sample("--line", "fast", environment={"TERM": "xterm"}) as terminal:
        terminal.step(b"i")
        terminal.step("世e\u0301x".encode(), "x")
        assert "世" in terminal.text
        terminal.step(b"\x7f\x7f\x7f\x7fzw", "zw")
        assert "世" not in terminal.text


def test_mouse_where_asked_for() -> None:
    with sample("--line", "fast", "--mouse", environment={"TERM": "xterm"}) as terminal:
        terminal.step(b"\x1b[<0;12;1M", "mouse 11,0")
        terminal.send(b"\x1b[<0;12;1mq")
        terminal.wait()
        assert b"\x1b[?1000l" in terminal.output


def test_no_colour() -> None:
    with sample("--line", "serial", environment={"NO_COLOR": "1"}) as terminal:
        looks = re.findall(rb"\x1b\[([0-9;]*)m", terminal.output)
        codes = {int(code or b"0") for look in looks for code in look.split(b";")}
        assert codes <= {0, 1, 2, 4, 7, 22, 24, 27}


@pytest.mark.parametrize("term", ["dumb", None])
def test_terminals_without_a_screen_are_told_how_to_get_one(term: str | None) -> None:
    with sample(ready=None, environment={"TERM": term}) as terminal:
        assert terminal.wait() == 2
        assert b"export TERM=vt220" in terminal.output
        assert b"\x1b" not in terminal.output


def test_a_reader_that_stops_and_comes_back(serial: Pty) -> None:
    """Keys held while nobody reads: what comes later is bounded, and ends with the newest."""
    for _ in range(60):
        serial.send(b"u")
        time.sleep(0.005)
    late = serial.settle(0.3)
    assert "count 60" in serial.text
    assert len(late) < 1000


def test_random_keys_and_bytes(own: Pty) -> None:
    """What it must not do is end, or stop painting; `test_random_bytes` goes through more."""
    chance = random.Random(7)
    known = [b"\x1b[A", b"\x1b[B", b"\x1b[6~", b"1", b"2", b"m", b"\x1b", b"i", b"\t", b"\r", b"u"]
    forbidden = bytes(set(b"qckz\x1a"))
    for _ in range(20):
        piece = b"".join(
            chance.choice(known)
            if chance.random() < 0.5
            else chance.randbytes(4).translate(None, forbidden)
            for _ in range(20)
        )
        own.send(piece)
        own.pump(0.0)
        assert not own.ended()
    own.send(b"\x1b[201~\x18")  # an unfinished paste or string, if there is one, ends here
    own.settle(0.4)
    own.step(b"\x1b", None)
    own.step(b"\x1b", None)
    screen = own.text
    own.step(b"\x0c", lambda: own.text == screen)
    assert own.output.isascii()


def _in_ascii(terminal: Pty) -> list[str]:
    return [to_ascii(line) for line in terminal.screen.display]


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
