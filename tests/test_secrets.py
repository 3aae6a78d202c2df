"""Recognisable passwords go through every path; then the tests search for them everywhere."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from support.passwords import write_password
from support.pty import Pty
from support.technician import Technician, console

from tpmconsole.board import Board
from tpmconsole.cli import main
from tpmconsole.settings import Settings

# The key's, a wrong one, a key file's passphrase, and the one typed on the screen.
KEY, WRONG, SOURCE, TYPED = "kEy7f3a9", "wRoNg51bd", "sOuRcEc0f", "tYpEd90ab"
SECRETS = (KEY, WRONG, SOURCE, TYPED)


def disguises(secret: str) -> Iterator[bytes]:
    """The secret itself, and its forms in JSON between processes, a dump and a wide string."""
    plain = secret.encode()
    yield plain
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    yield base64.b64encode(plain).rstrip(b"=")
    yield secret.encode("utf-16-le")


LOOKED_FOR = [one for secret in SECRETS for one in disguises(secret)]


def assert_clean(where: str, data: bytes) -> None:
    found = [one for one in LOOKED_FOR if one in data]
    assert not found, f"{found} in {where}"


def search_files(*folders: Path) -> int:
    """Search every file; only the simulated TPM itself may contain a key's password."""
    count = 0
    for folder in folders:
        for path in folder.rglob("*"):
            assert_clean(f"the name {path}", os.fsencode(path.name))
            if path.is_file() and not path.name.startswith("tpm2-00."):
                assert_clean(str(path), path.read_bytes())
                count += 1
    return count


def search_processes() -> int:
    """Search arguments and environment of every process that we are allowed to read."""
    count = 0
    for process in psutil.process_iter():
        for part in ("cmdline", "environ"):
            try:
                assert_clean(
                    f"{part} of {process}", Path(f"/proc/{process.pid}/{part}").read_bytes()
                )
                count += 1
            except OSError:
                continue  # it ended, or is another user's
    return count


def core_limits(pids: list[int]) -> set[str]:
    """The largest core dump that each process may leave."""
    lines = [Path(f"/proc/{pid}/limits").read_text().splitlines() for pid in pids]
    return {
        " ".join(line.split()[4:6])
        for text in lines
        for line in text
        if line.startswith("Max core file size")
    }


def workers() -> list[int]:
    """Our TPM workers; the simulator's parts come from this process, which may leave a dump."""
    found = [
        child.pid
        for child in psutil.Process().children()
        if any("tpmconsole.tpm.worker" in word for word in child.cmdline())
    ]
    assert found
    return found


Run = Callable[..., int]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of this process and of those that it starts."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def command(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """Run a command in this process; what it prints is searched."""
    root = logging.getLogger()
    before = list(root.handlers)
    monkeypatch.setattr(main, "leave_no_core", lambda: None)

    def run(*arguments: str) -> int:
        code = main.run(["--state", str(state), "--simulate", *arguments], lambda _: 0)
        printed = capsys.readouterr()
        assert_clean(f"what {arguments[0]} prints", (printed.out + printed.err).encode())
        assert code != 5, printed.err
        return code

    yield run
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = before


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """A file for each secret, and a key that one of them encrypts."""
    folder = tmp_path / "given"
    folder.mkdir()
    paths = {}
    for name, secret in (("key", KEY), ("wrong", WRONG), ("source", SOURCE)):
        paths[name] = str(folder / name)
        write_password(folder / name, f"{secret}\n")
    made = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SOURCE.encode())
    )
    (folder / "elsewhere.pem").write_bytes(made)
    return paths | {"elsewhere": str(folder / "elsewhere.pem")}


def test_no_command_leaves_a_password_anywhere(
    state: Path, command: Run, secrets: dict[str, str], temporary: Path
) -> None:
    with_key = ("--password-file", secrets["key"])
    wrong = ("--password-file", secrets["wrong"])
    vault = str(state / "identities/vault/key.pem")
    assert command("create", "vault", *with_key) == 0
    request = ("request", "vault", "--subject", "CN=vault", "--san", "dns:localhost")
    assert command(*request, "--role", "both", *wrong) == 4
    assert command(*request, "--role", "both", *with_key) == 0
    assert command("demo-ca", "sign", "vault") == 0
    certificate = str(state / "identities/vault/certificate.pem")
    assert command("import", "vault", certificate, "--check", *with_key) == 0
    assert command("keys", vault, "--prove", *with_key) == 0
    elsewhere = ("--from", secrets["elsewhere"], "--from-password-file")
    assert command("create", "guest", *elsewhere, secrets["wrong"]) != 0
    assert command("create", "guest", *elsewhere, secrets["source"], *with_key) == 0
    assert command("persist", "guest", "0x81000010", "--yes") == 0
    listen = ("session", "start", "server", "vault", "--listen", "localhost:0")
    board = Board(Settings(state=state, simulate=True))
    try:
        for engine in ("bridge", "provider"):
            assert command(*listen, "--engine", engine, *with_key) == 0
        board.tpm.health()
        search_processes()
        pids = [one.pid for one in board.sessions.list() if one.pid is not None]
        assert len(pids) == 2
        assert core_limits([*pids, *workers()]) == {"0 0"}
        for one in board.sessions.list():
            assert command("session", "stop", one.id) == 0
        command("keys", vault, "--prove", *wrong)
        assert command(*listen, *wrong) == 4
    finally:
        board.close()
    command("lockout", "reset", "--yes", *wrong)
    command("doctor")
    command("report")
    assert search_files(state, temporary) > 10
    assert not list(temporary.rglob("*.pem"))


async def _typed(technician: Technician, secret: str) -> None:
    await technician.type(secret)
    assert_clean("the screen", technician.screen().encode())


async def test_no_screen_leaves_a_password_anywhere(
    settings: Callable[..., Settings], state: Path, temporary: Path
) -> None:
    logging_before = logging.getLogger().handlers[:]
    async with console(settings(simulate=True)) as technician:
        await technician.sees("PASSED")
        await technician.press("2", "c")
        await technician.sees("New key in the TPM")
        await technician.type("typed")
        await technician.press("enter", "enter")
        await _typed(technician, TYPED)
        await technician.press("enter")
        await _typed(technician, WRONG)
        await technician.press("enter")
        await technician.sees("the two passwords differ")
        assert_clean("the screen", technician.screen().encode())
        await _typed(technician, TYPED)  # both are empty again
        await technician.press("enter")
        await _typed(technician, TYPED)
        await technician.press("enter", "enter", "enter")
        await technician.sees("typed/key.pem")
        await technician.press("u")
        for secret in (WRONG, TYPED):
            await technician.sees("Password of typed")
            await _typed(technician, secret)
            await technician.press("enter")
            await technician.idle()
        await technician.sees("the signature is good")
        assert_clean("the screen", technician.screen().encode())
        search_processes()
        assert core_limits(workers()) == {"0 0"}
    search_files(state, temporary)
    assert logging.getLogger().handlers == logging_before


def test_no_process_of_ours_leaves_a_core_dump(tmp_path: Path) -> None:
    terminal = Pty(
        [sys.executable, "-m", "tpmconsole", "--tcti", "device:/nowhere", "--state", str(tmp_path)]
    )
    try:
        terminal.until("NO TPM")
        assert core_limits([terminal.pid]) == {"0 0"}
        terminal.send(b"q")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    code = (
        "import ctypes, resource; from tpmconsole.secret import leave_no_core as f; f();"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(0, 0) 0"


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """The search works; otherwise the tests above could not fail."""
    for disguise in LOOKED_FOR:
        (tmp_path / "leak").write_bytes(b"before " + disguise + b" after")
        with pytest.raises(AssertionError, match="leak"):
            search_files(tmp_path)
    (tmp_path / "leak").unlink()
    with (
        subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, env={"LEAK": KEY}),
        pytest.raises(AssertionError, match="environ"),
    ):
        search_processes()
