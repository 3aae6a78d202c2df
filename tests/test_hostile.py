"""Hostile names, descriptions, subjects and events: they are shown, and harmless."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from support.keys import full_key
from support.pki import Extra, Signer, ca, key_pem, leaf
from support.shell import Shell
from support.technician import console

from tpmconsole.board import Board
from tpmconsole.board.doctor import examine
from tpmconsole.board.doctor.probes import PROBES
from tpmconsole.settings import Settings
from tpmconsole.text import harmless

# Clears the screen, sets the title, uses markup, reverses the reading direction, rings.
EVIL = "\x1b[2J\x1b]0;owned\x07[bold red]\u202egpj.exe\u2066\x9b31m\r\n\x00"
NO_SUCH_COMMAND = EVIL.rstrip("\0")  # no argument can contain this
TEN_MEGABYTES = 10_000_000


def assert_harmless(text: str, most: int = 40_000) -> None:
    """No control character except the end of a line, and no endless text."""
    assert len(text) <= most
    bad = [one for line in text.split("\n") for one in line if not one.isprintable()]
    assert not bad, f"{bad[:5]!a}"


def test_lines_stay_and_steering_goes() -> None:
    assert harmless("a\tb\nc\x1b[2J") == "a\tb\nc\\x1b[2J"
    assert len(harmless("x" * TEN_MEGABYTES)) < 200_000


@pytest.fixture
def subject() -> x509.Name:
    text = EVIL.replace("\0", "")
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, text[:60]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "[blink]\u200f\u202e" + "x" * 40),
        ]
    )


@pytest.fixture
def hostile(state: Path, subject: x509.Name) -> Settings:
    """A state directory that another user has written, as far as files can be."""
    settings = Settings(state=state, tcti="device:/nowhere", tcti_source="--tcti")
    key = replace(full_key(), description=EVIL * 50).to_pem()
    board = Board(settings)
    board.identities.create("gateway", key_pem=key, handle=None, algorithm="ec-p256", auth="none")
    names: list[x509.GeneralName] = [x509.DNSName(f"n{number}.local") for number in range(3000)]
    names += [x509.UniformResourceIdentifier("urn:[bold]%1b")]
    root = ca("root", subject=subject)
    chain = leaf(root, san=names, subject=subject)
    board.identities.install("gateway", chain.pem, root.pem)
    (state / "identities/gateway/identity.toml").write_bytes(b'algorithm = "\\u001b[2J\\u202e"\n')
    folder = state / "sessions/client-1/state"
    folder.mkdir(parents=True)
    spec = {"role": "client", "identity": EVIL, "host": EVIL, "port": 1, "path": EVIL, "crl": EVIL}
    order = {
        **{"unit": None, "boot": EVIL, "spec": spec},
        "credentials": {"identity": EVIL, "handle": 1, "certificate": EVIL, "trust": EVIL},
        "connection": {"tcti": EVIL, "why": EVIL, "environment": {EVIL: EVIL}},
        "engine": {"name": EVIL, "why": EVIL, "module_version": EVIL},
    }
    (folder.parent / "order.json").write_text(json.dumps(order))
    trouble = {"title": EVIL, "cause": EVIL * 1000, "remedy": EVIL, "time": ""}
    facts = {
        **{
            "id": "client-1",
            "role": "client",
            "identity": EVIL,
            "address": EVIL,
            "state": "failed",
        },
        **{"peer": {"subject": EVIL, "issuer": EVIL, "not_after": EVIL, "fingerprint": EVIL}},
        **{"cipher": EVIL, "engine": EVIL, "why_engine": EVIL, "last_error": trouble},
        **{"started": "2026-01-01T00:00:00Z", "boot": "-", "handshake_ms": {}},
    }
    (folder / "status.json").write_text(json.dumps(facts))
    events = [
        {"time": EVIL, "event": "error", **trouble},
        {"time": "2026-01-01T00:00:00Z", "event": EVIL, "text": EVIL},
        {"time": "2026-01-01T00:00:00Z", "event": "message", "text": EVIL, "answer": EVIL},
        {"time": "2026-01-01T00:00:00Z", "event": "message", "text": "x" * 1_000_000},
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    return settings


def test_no_command_passes_it_on(hostile: Settings, shell: Shell, tmp_path: Path) -> None:
    odd = tmp_path / "k\x1b[2J\u202e.pem"
    odd.write_bytes(replace(full_key(), description=EVIL).to_pem())
    (tmp_path / "\udcff.pem").write_text("no key")
    for command in (
        ("keys", str(tmp_path)),
        ("keys",),
        ("trust", "gateway"),
        ("session", "list"),
        ("session", "show", "client-1"),
        ("session", "events", "client-1"),
        ("import", "gateway", str(odd)),
        ("report", "--out", "-"),
        (NO_SUCH_COMMAND,),
    ):
        done = shell("--tcti", "device:/nowhere", *command)
        assert "Traceback" not in done.stderr
        assert_harmless(done.stdout)
        assert_harmless(done.stderr, 5000)
        if command[0] not in (NO_SUCH_COMMAND, "import"):
            assert done.stdout
        if command[0] == "report":
            assert "== status" in done.stdout


async def test_no_screen_passes_it_on(hostile: Settings) -> None:
    async with console(hostile) as technician:
        await technician.sees("NO TPM")
        pages = {"2": "0x81", "3": "gateway", "4": "client-1", "5": "n goes to the next"}
        for key, text in pages.items():
            await technician.press(key)
            await technician.sees(text)
            await technician.idle()
            await technician.press("end")
            assert_harmless(technician.screen())
            await technician.press("home", "enter")
            await technician.idle()
            assert_harmless(technician.screen())
            await technician.press("escape", "escape")
        technician.app.show_text(EVIL, EVIL * 1000)
        await technician.sees("owned")
        assert_harmless(technician.screen())


@contextmanager
def served(signer: Signer, folder: Path) -> Iterator[int]:
    """A TLS server with one of our certificates, for one connection."""
    chain = folder / "server.pem"
    chain.write_bytes(signer.pem + key_pem(signer.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)

    def serve(server: socket.socket) -> None:
        for _ in range(2):  # the doctor asks for a connection, then for TLS
            connection, _ = server.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def test_ten_megabytes_of_names(
    settings: Callable[..., Settings], tmp_path: Path, subject: x509.Name
) -> None:
    """As a file to import, and as the certificate of a server."""
    one = x509.DNSName("a" * 60 + "." + "b" * 60 + ".example")
    root = ca("root")
    names = Extra(x509.SubjectAlternativeName, x509.SubjectAlternativeName([one] * 78_000))
    huge = leaf(root, names, subject=subject)
    assert len(huge.certificate.public_bytes(Encoding.DER)) > TEN_MEGABYTES
    board = Board(settings())
    board.identities.create("g", key_pem=b"-", handle=None, algorithm="ec-p256", auth="none")
    board.identities.add_anchors("g", [root.certificate])
    huge_file = tmp_path / "huge.pem"
    huge_file.write_bytes(huge.pem)
    error = Shell(board.settings.state).refuse(1, "import", "g", str(huge_file))
    assert "more than" in error["cause"]
    with served(huge, tmp_path) as port:
        probes = [one for one in PROBES if one.name in ("dns", "tcp", "tls")]
        *_, tls = examine(board, servers=[("127.0.0.1", port)], probes=probes)
    assert tls.state == "fail"
    assert_harmless(tls.text, 500)


def test_the_log_tells_no_terminal_anything(hostile: Settings) -> None:
    board = Board(hostile)
    board.record("test", identity=EVIL)
    (line,) = (hostile.state / "audit.jsonl").read_text().splitlines()
    assert_harmless(line)
    assert json.loads(line)["identity"] == EVIL
