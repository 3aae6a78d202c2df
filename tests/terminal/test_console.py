"""The real console on a serial line: bytes of every step, silence when idle, quick ways out."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pty import Pty

from tpmconsole.board import Board
from tpmconsole.board.certificates import demo_sign
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.board.sessions import start_session, stop_session
from tpmconsole.board.tour import clear_leftovers
from tpmconsole.session.spec import SessionSpec
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm
from tpmconsole.x509.request_spec import RequestSpec

FIRST_PAINT, SWITCH, CURSOR, DIALOG, UPDATE, LEAVING = 3000, 2500, 200, 1800, 150, 60
PAGES = {
    b"1": "Lock-out",
    b"2": "WHERE",
    b"3": "1 Key",
    b"4": "SESSION",
    b"5": "self-test",
    b"6": "Enter starts it",
}
# A path from the first page back to it that takes each of the thirty page changes once.
EVERY_SWITCH = b"1213141516232425263435364546561"
ESCAPE, DOWN, CONTROL_L = b"\x1b", b"\x1b[B", b"\x0c"
IDLE_S = 10.0
UPDATE_SECONDS = 4


def start(state: Path, **environment: str) -> Pty:
    """The console on a simulated TPM, painted with the TPM's state."""
    terminal = Pty(
        [
            *(sys.executable, "-m", "tpmconsole", "--simulate", "--state", str(state)),
            *("--line", "serial"),
        ],
        environment={**environment},
    )
    terminal.until("PASSED")
    terminal.until("Sessions")
    terminal.settle()
    return terminal


def go_on(pid: int) -> None:
    """Let a stopped process continue if quitting has not ended it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory with two identities, one of them ready, and a running server."""
    state = tmp_path_factory.mktemp("c")
    board = Board(Settings(state=state, simulate=True))
    try:
        for name in ("gateway", "pump"):
            create_key(board, name, Algorithm.EC_P256)
        make_request(board, "gateway", RequestSpec("CN=gateway", ("dns:localhost",), "both"))
        demo_sign(board, "gateway")
        spec = SessionSpec(role="server", identity="gateway", host="localhost", port=0)
        session = start_session(board, spec).id
        yield state
        stop_session(board, session)
    finally:
        board.close(leave=True)


@pytest.fixture(scope="module")
def terminal(furnished: Path) -> Iterator[Pty]:
    terminal = start(furnished)
    yield terminal
    terminal.close()


def to_first_page(terminal: Pty) -> None:
    """Close what is open and go to the Overview."""
    terminal.step(ESCAPE)
    # On a busy machine both may be read at once, and are Alt-1: then it is pressed again.
    for seconds in (3.0, 3.0, 10.0):
        terminal.send(b"1")
        with contextlib.suppress(AssertionError):
            terminal.until("Lock-out", seconds)
            break
    terminal.settle()
    assert "Lock-out" in terminal.text


@pytest.fixture
def console(terminal: Pty) -> Pty:
    """The shared console on its first page."""
    to_first_page(terminal)
    return terminal


def test_the_first_paint_is_small_and_asks_the_terminal_nothing(terminal: Pty) -> None:
    first = terminal.output
    assert len(first.partition(b"PASSED")[0]) <= FIRST_PAINT
    assert first.isascii()
    assert b"\x1b[6n" not in first
    assert b"\x1b[c" not in first


def test_switching_pages_costs_little_from_everywhere_to_everywhere(console: Pty) -> None:
    for number in EVERY_SWITCH[1:]:
        key = bytes([number])
        assert len(console.step(key, PAGES[key])) <= SWITCH


def _marked(terminal: Pty) -> int:
    """The row below the bars that has the cursor."""
    rows = range(3, terminal.screen.lines - 2)
    return next(row for row in rows if terminal.screen.buffer[row][1].reverse)


@pytest.mark.parametrize("page", [b"2", b"3", b"5"])
def test_a_move_of_the_cursor_costs_little(console: Pty, page: bytes) -> None:
    console.step(page, PAGES[page])
    # The page's last word may still be on its way, and would count as the move's; while a job runs
    # its seconds are written.
    console.settle(1.1)
    for key, place in ((DOWN, "2 of"), (b"\x1b[A", "1 of")):
        before = _marked(console)
        assert 0 < len(console.step(key, place)) <= CURSOR
        assert _marked(console) - before == (1 if key == DOWN else -1)


@pytest.mark.parametrize(
    ("page", "key", "text"),
    [
        (b"1", b"?", "Everywhere"),
        (b"1", b":", "Do it"),
        (b"2", b"y", "public key"),
        (b"2", b"c", "New key in the TPM"),
        (b"2", b"\r", "BEGIN PUBLIC KEY"),
        (b"3", b"n", "New key in the TPM"),
        (b"3", b"r", "Request for"),
        (b"3", b"h", "Clipboard"),
        (b"3", b"i", "removable disks first"),
        (b"3", b"t", "SHA-256"),
        (b"3", b"w", "A new key"),
        (b"4", b"s", "Start a server"),
        (b"4", b"c", "Start a client"),
        (b"4", b"\r", "Events of"),
        (b"5", b"w", "Write the report"),
    ],
)
def test_every_dialog_opens_for_little_and_closes_by_escape(
    console: Pty, page: bytes, key: bytes, text: str
) -> None:
    console.step(page, PAGES[page])
    # The page's last bytes may still be on their way, and would count as the dialog's.
    console.settle(0.3)
    assert len(console.step(key, text)) <= DIALOG
    assert len(console.step(ESCAPE, lambda: text not in console.text)) <= SWITCH


def test_the_manual_costs_no_more_than_other_pages(console: Pty) -> None:
    console.step(b"?", "Everywhere")
    assert len(console.step(b"m", "Which TPM is used")) <= SWITCH
    assert len(console.step(b"\r", "The first of these")) <= SWITCH
    for title in ("From a key", "Passwords,", "What happens if", "Sessions,"):
        assert len(console.step(b" ", title)) <= SWITCH
    assert len(console.step(ESCAPE, " sections")) <= SWITCH
    console.step(ESCAPE, lambda: "sections" not in console.text)


def test_painting_again_restores_a_spoiled_screen(console: Pty) -> None:
    before = console.text
    console.screen.reset()
    assert len(console.step(CONTROL_L, "Lock-out")) <= FIRST_PAINT
    assert console.text == before


def test_nothing_is_written_while_nothing_changes(console: Pty) -> None:
    """Ten seconds over all pages; a server is running whose figures do not change."""
    for page, text in PAGES.items():
        console.step(page, text)
        console.settle(1.1)  # the last word of the page's job, and one tick of the second
        assert console.settle(IDLE_S / len(PAGES)) == b"", f"page {page!r}"


def test_a_session_update_costs_little(console: Pty, furnished: Path) -> None:
    """Every figure changes: the client makes a handshake for each of its messages."""
    board = Board(Settings(state=furnished, simulate=True))
    port = int(board.sessions.list()[0].address.rpartition(":")[2])
    spec = SessionSpec(
        *("client", "gateway", "localhost", port), interval_s=0.1, protocol="https", path="/"
    )
    client = start_session(board, spec).id
    try:
        # The Overview names it too, but the cursor moves to its row on this page.
        console.step(b"4", lambda: PAGES[b"4"] in console.text and client in console.text)
        console.settle(0.3)
        before = len(console.output)
        console.send(DOWN)
        console.until(lambda: len(console.output) > before)
        console.settle(0.05)
        assert len(console.output) - before <= CURSOR
        console.until("reconnects")  # its facts follow when the cursor rests
        console.settle()
        # At most one update per second, plus the one that was already under way.
        start, end = len(console.output), time.monotonic() + UPDATE_SECONDS
        while time.monotonic() < end:
            console.pump(0.05)
        assert 0 < len(console.output) - start <= UPDATE * (UPDATE_SECONDS + 1)
        # The list of events is full by now, and wider than any other dialog.
        assert len(console.step(b"\r", "Events of")) <= DIALOG
        console.step(b"\x1b[A")
        assert 0 < len(console.step(b"\x1b[A")) <= CURSOR
        console.step(ESCAPE)
        console.step(b"\x1b[A")
    finally:
        stop_session(board, client)
        board.tpm.close()


def test_nothing_but_ascii_was_ever_sent(console: Pty) -> None:
    assert console.output.isascii()


def test_leaving_costs_little_and_gives_the_terminal_back(furnished: Path) -> None:
    terminal = start(furnished)
    try:
        terminal.settle(1.1)  # what a busy machine has yet to show would count as leaving's
        end = len(terminal.output)
        terminal.send(b"q")
        assert terminal.wait() == 0
        screen, line = terminal.output[end:].split(b"\x1b[?1049l")
        assert len(screen) + len(b"\x1b[?1049l") <= LEAVING
        session = b"1 session continues; page 4 or 'tpmconsole session stop server-1' ends it\r\n"
        assert line == session
        assert terminal.settings() == terminal.before
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_console_while_its_tpm_hangs(
    state: Path, number: signal.Signals, code: int
) -> None:
    terminal = start(state)
    board = Board(Settings(state=state, simulate=True))
    swtpm = board.simulator.status().pids["swtpm"]
    try:
        os.kill(swtpm, signal.SIGSTOP)
        terminal.send(b"t")
        terminal.until("running the full self-test")
        began = time.monotonic()
        os.kill(terminal.pid, number)
        assert terminal.wait(5) == code
        assert time.monotonic() - began < 2
        assert terminal.settings() == terminal.before
    finally:
        go_on(swtpm)
        terminal.close()


def test_while_the_tpm_hangs_keys_are_answered_and_leaving_is_quick(state: Path) -> None:
    terminal = start(state)
    board = Board(Settings(state=state, simulate=True))
    swtpm = board.simulator.status().pids["swtpm"]
    try:
        os.kill(swtpm, signal.SIGSTOP)
        terminal.send(b"t")
        terminal.until("running the full self-test ... 1 s")
        for key in (b"3", b"1"):
            began = time.monotonic()
            terminal.send(key)
            terminal.until(PAGES[key])
            assert time.monotonic() - began < 2
        terminal.step(b"q", "is still running")
        began = time.monotonic()
        terminal.send(b"y")
        assert terminal.wait(5) == 0
        assert time.monotonic() - began < 2
    finally:
        go_on(swtpm)
        terminal.close()


def test_a_console_without_a_tpm_opens_all_the_same(state: Path) -> None:
    terminal = Pty(
        [
            *(sys.executable, "-m", "tpmconsole", "--tcti", "device:/nowhere"),
            *("--state", str(state), "--line", "serial"),
        ]
    )
    try:
        terminal.until("NO TPM")
        terminal.step(b"5", "self-test")
        terminal.step(b"1", "NO TPM")
        terminal.step(b"s", "SIMULATED")
        terminal.send(b"q")
        assert terminal.wait() == 0
    finally:
        terminal.close()


KEYS = [bytes([letter]) for letter in b"123456tirscnupevwdx?y \r\t\x7f\x0cabz09./"]
KEYS += [b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[5~", b"\x1b[6~", b"\x1bOQ", ESCAPE]
NOISE = [b"\xff", b"\x80\x81", b"\x11", b"\x13", b"\0", b"\x1b[?1;2c", b"\x1b[0n", b"\x1b[3;4R"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_keys_and_noise_at_random(state: Path, seed: int) -> None:
    """Only the keys for quitting may end it; the screen is the same after a repaint."""
    chance = random.Random(seed)
    terminal = start(state, HOME=str(state))
    try:
        for _ in range(500):
            terminal.send(chance.choice(KEYS if chance.random() < 0.9 else NOISE))
            terminal.pump(0.003)
            assert not terminal.ended(), terminal.text
        terminal.until(lambda: terminal.settle(0.5) == b"" and " ... " not in terminal.text, 60)
        for _ in range(4):
            terminal.step(ESCAPE)
        to_first_page(terminal)
        terminal.settle(0.5)
        before = terminal.text
        terminal.screen.reset()
        terminal.step(CONTROL_L, "Lock-out")
        assert terminal.text == before
    finally:
        terminal.close()
        board = Board(Settings(state=state, simulate=True))
        for session in board.sessions.list():
            board.sessions.stop(session.id)
        clear_leftovers(board.settings)


@pytest.mark.parametrize("line", ["serial", "fast"])
def test_no_size_of_the_terminal_ends_the_console(tmp_path: Path, line: str) -> None:
    where = ("--tcti", "device:/nowhere", "--state", str(tmp_path), "--line", line)
    terminal = Pty([sys.executable, "-m", "tpmconsole", *where])
    try:
        terminal.until("NO TPM")
        for size in ((1, 1), (3, 200), (19, 24), (500, 1), (500, 200), (2, 2), (80, 24)):
            terminal.resize(*size)
            terminal.settle()
        terminal.until("NO TPM")
        terminal.send(b"q")
        assert terminal.wait() == 0
    finally:
        terminal.close()
