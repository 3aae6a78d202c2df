"""Provisioning from start to end by keyboard on a serial line, 80x24, with a CA made by openssl."""

from __future__ import annotations

import base64
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from support.authority import Authority
from support.pty import Pty
from terminal.test_console import DIALOG, SWITCH, start

ENTER, RIGHT, CONTROL_D, CONTROL_U = b"\r", b"\x1b[C", b"\x04", b"\x15"
HOME = b"\x1b[1~"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def _type(terminal: Pty, text: str) -> None:
    """Type as fast as a person: many characters at once would count as a paste."""
    for letter in text:
        terminal.send(letter.encode())
        terminal.pump(0.02)
    terminal.until(text)


def test_from_a_new_key_to_a_certificate_with_the_power_cut_between(
    state: Path, authority: Authority, tmp_path: Path
) -> None:
    identity = state / "identities" / "gateway"
    terminal = start(state, HOME=str(tmp_path))
    try:
        _make_key(terminal)
        _ask(terminal)
        copied = _copy(terminal)
        assert copied == (identity / "request.pem").read_bytes()
        _press(terminal, b"h", "Clipboard")
        _press(terminal, b"f", "your home")
        _choose(terminal, lambda row: row.endswith("your home"), "write it here")
        _press(terminal, ENTER, "Request written")
        assert (tmp_path / "gateway.csr").read_bytes() == copied
        os.kill(terminal.pid, signal.SIGKILL)
        assert terminal.wait() == -signal.SIGKILL
    finally:
        terminal.close()

    leaf = authority.sign(tmp_path / "gateway.csr", days=20)
    (tmp_path / "gateway.pem").write_bytes(leaf.read_bytes())
    terminal = start(state, HOME=str(tmp_path))
    try:
        _press(terminal, b"3", "2 Request   DONE")
        terminal.until("4 Import    NEXT")  # it is remembered, and Enter imports
        _press(terminal, ENTER, "removable disks first")
        assert len(terminal.step(b"f", "your home")) <= SWITCH
        _choose(terminal, lambda row: row.endswith("your home"), "gateway.csr")
        _choose(terminal, lambda row: row.startswith("gateway.csr"), "not a certificate")
        _press(terminal, ENTER, lambda: "not a certificate" not in terminal.text)
        _press(terminal, b"i", "paste the PEM")
        _press(terminal, b"f", "gateway.pem")  # where the last one was
        _choose(terminal, lambda row: row.startswith("gateway.pem"), "CN=CA is not trusted")
        assert "FAIL" not in terminal.text
        assert "Install" not in terminal.text
        _paste_root(terminal, authority)
        assert len(terminal.step(b"y", "y installs it")) <= SWITCH  # one closes, one opens
        assert not (identity / "trust.pem").exists()
        _press(terminal, b"y", "in 19 days: renew it")
        assert (identity / "trust.pem").exists()
        _press(terminal, b"1", "renew it")
        assert terminal.output.isascii()
        terminal.send(b"q")
        assert terminal.wait() == 0
    finally:
        terminal.close()


def _press(terminal: Pty, keys: bytes, then: Callable[[], bool] | str) -> None:
    """Type, and read until the effect shows."""
    terminal.send(keys)
    terminal.until(then)


def _make_key(terminal: Pty) -> None:
    _press(terminal, b"3", "1 Key       NEXT")
    _press(terminal, b"n", "New key in the TPM")
    _type(terminal, "gateway")
    _press(terminal, b"\x1b[A", "inside the TPM")
    _press(terminal, ENTER, "1 Key       DONE")


def _ask(terminal: Pty) -> None:
    """Fill the form, look at the preview, and let the TPM sign."""
    _press(terminal, b"r", "Request for gateway")
    _press(terminal, CONTROL_U, "peers know")
    _type(terminal, "gw-1")
    for hint in ("serial number", "unit", "organization;", "town", "province", "such as DE"):
        _press(terminal, ENTER, hint)
    _type(terminal, "DE")
    _press(terminal, ENTER, "in one line")
    _press(terminal, ENTER, "spaces between")
    _type(terminal, "dns:gw.local")
    _press(terminal, ENTER, "decides the key usages")
    _press(terminal, RIGHT * 2, "< both >")
    assert len(terminal.step(ENTER, "Sign it in the TPM")) <= DIALOG
    for asked in ("gw-1", "DE", "dns:gw.local", "clientAuth, serverAuth", "ECDSA with SHA-256"):
        terminal.until(asked)
    _press(terminal, ENTER, "Hand the request of gateway")


def _copy(terminal: Pty) -> bytes:
    """What reaches the clipboard of the user at the other end."""
    seen = terminal.step(b"c", "terminal's clipboard")
    sent = re.search(rb"\x1b\]52;c;([A-Za-z0-9+/=]+)\x07", seen)
    assert sent is not None
    _press(terminal, ENTER, lambda: "Copied" not in terminal.text)
    return base64.b64decode(sent[1])


def _paste_root(terminal: Pty, authority: Authority) -> None:
    """Paste the CA as most terminal programs do, without brackets: just letters and line ends."""
    assert len(terminal.step(b"t", "The CA to trust")) <= DIALOG
    _press(terminal, b"p", "Paste it now")
    terminal.send(authority.root.read_bytes().replace(b"\n", b"\r"))
    terminal.until("1 complete block")
    _press(terminal, CONTROL_D, "Compare each fingerprint")
    digits = authority.fingerprint()[:16].upper()
    terminal.until(lambda: digits in re.sub(r"[\s|]", "", terminal.text))


def _choose(terminal: Pty, wanted: Callable[[str], bool], then: str) -> None:
    """Move the cursor of the list of files to a row, and press Enter."""
    rows = [line.strip() for line in terminal.text.splitlines()[3:]]
    terminal.send(HOME)
    for _ in range(next(at for at, row in enumerate(rows) if wanted(row))):
        terminal.send(b"\x1b[B")
    _press(terminal, ENTER, then)
