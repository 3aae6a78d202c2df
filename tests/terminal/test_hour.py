"""A technician's hour on a serial line of 80x24: from a board without an identity to mutual TLS.

Real are the console, the simulated TPM, the CA (``openssl ca``), curl and OpenSSL's server. Every
key is counted, except for what is typed into fields, and every byte that the line has to carry.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.authority import OPENSSL
from support.interop_programs import free_port
from support.office import Office
from support.pty import Pty
from terminal.test_console import start

from tpmconsole.board import Board
from tpmconsole.settings import Settings

CURL = shutil.which("curl") or "curl"
MOST_KEYS = 90
MOST_BYTES = 46_000  # 4 seconds of a line of 115200 baud
ENTER, LEFT, DOWN, ESCAPE = b"\r", b"\x1b[D", b"\x1b[B", b"\x1b"


class Hands:
    """Presses keys and counts them.

    Attributes:
        keys: those that were pressed, apart from text that was typed.
    """

    def __init__(self, terminal: Pty) -> None:
        self.terminal = terminal
        self.keys = 0

    def press(self, then: Callable[[], bool] | str, *keys: bytes) -> None:
        """Press keys, and wait until they have had their effect."""
        for key in keys:
            self.terminal.send(key)
            self.keys += 1
            self.terminal.pump(0.02)
        self.terminal.until(then)

    def type(self, text: str) -> None:
        """Type as a person does: many characters at once would count as pasted."""
        for letter in text:
            self.terminal.send(letter.encode())
            self.terminal.pump(0.02)
        self.terminal.until(text)

    def choose(self, row: str, then: str) -> None:
        """Move the cursor of a list down to a row, and press Enter."""
        self.terminal.settle()
        screen = self.terminal.screen
        rows = [line.strip() for line in screen.display]
        wanted = next(at for at, line in enumerate(rows) if line.startswith(row))
        cells = (screen.buffer[at][1] for at in range(len(rows)))
        here = next(at for at, cell in enumerate(cells) if cell.reverse)
        assert wanted >= here, f"{row} is above the cursor:\n{self.terminal.text}"
        self.press(then, *[DOWN] * (wanted - here), ENTER)


def test_a_technician_s_hour_takes_few_keys_and_few_bytes(state: Path, tmp_path: Path) -> None:
    office, stick = Office(tmp_path / "office"), tmp_path / "stick"
    stick.mkdir()
    (stick / "office-root.pem").write_bytes(office.root.read_bytes())
    board = Board(Settings(state=state, simulate=True))
    terminal = start(state, HOME=str(stick))
    hands = Hands(terminal)
    try:
        _make_key(hands)
        _hand_over(hands, first=True)
        office.sign(stick / "gateway.csr", stick / "gateway.pem")
        _import(hands, trust=True)
        port = _serve(hands)
        _reached_by_curl(office, port)
        with _server(office) as (other, log):
            _connect(hands, other)
            _renew(hands, office, stick)
        assert "issuer=CN = Office Issuing CA" in log.read_text()
        _reached_by_curl(office, port)
        hands.press("n goes to the next", b"5")
        hands.press(lambda: "Finding" in terminal.text or "Try" in terminal.text, b"n")
        _leave(hands)
        assert hands.keys <= MOST_KEYS
        assert len(terminal.output) <= MOST_BYTES
        assert terminal.output.isascii()
    finally:
        terminal.close()
        for one in board.sessions.list():
            if not one.state.ended:
                board.sessions.stop(one.id)
        board.close(leave=True)


def _make_key(hands: Hands) -> None:
    hands.press("1 Key       NEXT", b"3")
    hands.press("New key in the TPM", ENTER)
    hands.type("gateway")
    hands.press("left and right change it", ENTER)
    hands.press("empty: none", ENTER)
    hands.press("to keep the key inside", ENTER)
    hands.press("1 Key       DONE", ENTER)


def _hand_over(hands: Hands, *, first: bool) -> None:
    """From the form of a request to a file on the stick."""
    if first:
        hands.press("Request for gateway", ENTER)
        hands.press("spaces between", *[ENTER] * 8)
        hands.type("dns:localhost")
        hands.press("decides the key usages", ENTER)
        hands.press("< both >", LEFT)
        hands.press("Sign it in the TPM", ENTER)
    hands.press("Hand the request of gateway", ENTER)
    hands.press("your home" if first else "replaces", b"f")
    if first:
        hands.choose("/tmp/", "write it here")
        hands.press("Request written", ENTER)
    else:
        hands.press("would be replaced", ENTER)
        hands.press("Request written", b"y")
    hands.press("4 Import    NEXT", ENTER)


def _import(hands: Hands, *, trust: bool) -> None:
    hands.press("paste the PEM", ENTER)
    hands.press("gateway.pem", b"f")
    if trust:
        hands.choose("gateway.pem", "not trusted here yet")
        hands.press("The CA to trust", b"t")
        hands.press("office-root.pem", b"f")
        hands.choose("office-root.pem", "Compare each fingerprint")
        hands.press("y installs it", b"y")
    else:
        hands.choose("gateway.pem", "y installs it")
    hands.press("certificate installed", b"y")


def _serve(hands: Hands) -> int:
    port = free_port()
    hands.press("Start gateway as", ENTER)
    hands.press("Start a server", ENTER)
    hands.press("HOST:PORT", ENTER)
    hands.type(f"localhost:{port}")
    hands.press("auto takes", ENTER)
    hands.press("server-1 started", ENTER)
    return port


def _reached_by_curl(office: Office, port: int) -> None:
    certificate, key = office.peer("laptop", "extendedKeyUsage = clientAuth")
    done = subprocess.run(
        [
            *(CURL, "-sS", "--max-time", "20", "--cacert", str(office.root)),
            *("--cert", str(certificate), "--key", str(key), f"https://localhost:{port}/"),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "laptop" in done.stdout


@contextmanager
def _server(office: Office) -> Iterator[tuple[int, Path]]:
    """OpenSSL's server, which wants a certificate of the same CA."""
    certificate, key = office.peer(
        "nginx", "extendedKeyUsage = serverAuth", "subjectAltName = DNS:localhost"
    )
    log, port = certificate.with_suffix(".log"), free_port()
    with log.open("w") as file:
        server = subprocess.Popen(
            [
                *(OPENSSL, "s_server", "-accept", f"localhost:{port}", "-Verify", "2"),
                *("-verify_return_error", "-cert", str(certificate), "-key", str(key)),
                *("-cert_chain", str(office.chain), "-CAfile", str(office.root)),
            ],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
        )
        try:
            yield port, log
        finally:
            server.terminate()
            server.wait()


def _connect(hands: Hands, port: int) -> None:
    hands.press("Start a client", b"c")
    hands.press("https://HOST:PORT/PATH", ENTER)
    hands.type(f"localhost:{port}")
    hands.press("auto takes", ENTER)
    hands.press("the handshake authenticate", ENTER)
    hands.press("until it is stopped", ENTER)
    hands.press("client-1 started", ENTER)
    hands.terminal.until("CN=nginx")


def _renew(hands: Hands, office: Office, stick: Path) -> None:
    hands.press("5 Ready     DONE", b"3")
    hands.press("The same key", b"w")
    hands.press("Renewal for gateway", ENTER)
    hands.press("decides the key usages", *[ENTER] * 9)
    hands.press("Sign it in the TPM", ENTER)
    _hand_over(hands, first=False)
    office.sign(stick / "gateway.csr", stick / "gateway.pem")
    _import(hands, trust=False)
    hands.terminal.until("l on page 4")
    hands.press(lambda: "l on page 4" not in hands.terminal.text, ESCAPE)
    hands.press("server-1", b"4")
    hands.press("has read its certificate again", b"l")
    hands.press("2 of 2", DOWN)
    hands.press("client-1 has read its certificate again", b"l")


def _leave(hands: Hands) -> None:
    hands.press(hands.terminal.ended, b"q")
    assert hands.terminal.wait() == 0
    assert b"2 sessions continue; page 4 or" in hands.terminal.output
