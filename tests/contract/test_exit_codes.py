"""How every command ends, and what it says where it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from support.contract_walk import Place, place
from support.golden import as_json, check
from support.passwords import write_password
from support.waiting import wait_until

NOWHERE = "--tcti device:/nonexistent"

Hook = Callable[[Place], None]


@dataclass(frozen=True)
class Row:
    """A command and how it ends.

    Attributes:
        name: of the row; its error is kept under it.
        code: the exit code.
        title: the error's, or empty where the command answers as always.
        command: without ``--state`` and ``--json``.
        before: makes what it needs.
        alone: whether it waits for the rows above it; one with ``before`` always does.
        text: its standard input.
        told: whether it is run again without ``--json``, to see the error on standard error.
    """

    name: str
    code: int
    title: str
    command: str
    before: Hook | None = None
    alone: bool = False
    text: str = ""
    told: bool = False

    @property
    def waits(self) -> bool:
        return self.alone or self.before is not None


@pytest.fixture(scope="module")
def board() -> Iterator[Place]:
    """A place with all kinds of identities, and a server that runs.

    ``ready`` has a certificate, ``bare`` only its key, ``locked`` a key with a password and
    ``fixed`` one at a handle.
    """
    with place() as made:
        made.do("--simulate create ready")
        made.do("--simulate create bare")
        made.do("--simulate create locked --password-file {files}/right")
        made.do("--simulate create fixed --handle 0x81000010")
        made.do("--simulate request ready --subject CN=ready --role both --san dns:localhost")
        made.do("--simulate demo-ca sign ready")
        made.learn_port(
            made.do("--simulate session start server ready --listen 127.0.0.1:0 --engine bridge")
        )
        _write_files(made)
        yield made


def _write_files(made: Place) -> None:
    (made.files / "folder").mkdir()
    write_password(made.files / "empty", "\n")
    (made.files / "junk").write_bytes(b"\0junk\n")
    openssl = made.authority.run
    key = made.files / "soft.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", str(key))
    openssl("pkey", "-in", str(key), "-aes256", "-passout", "pass:right", "-out", f"{key}.enc")
    openssl(
        *("pkcs12", "-export", "-in", "ca.pem", "-inkey", "ca.key", "-passout", "pass:x"),
        *("-out", str(made.files / "ca.p12")),
    )
    damaged = made.state / "sessions" / "server-9"
    damaged.mkdir(mode=0o700)
    (damaged / "order.json").write_text("{")
    (damaged / "order.json").chmod(0o600)
    made.words["certificate"] = str(made.state / "identities" / "ready" / "certificate.pem")
    anchors = made.state / "identities" / "ready" / "trust.pem"
    said = openssl("x509", "-in", str(anchors), "-noout", "-fingerprint", "-sha256")
    made.words["sha256"] = said.strip().rpartition("=")[2].replace(":", "")


def _spoil_settings(made: Place) -> None:
    (made.state / "tpmconsole.toml").write_text("warn_days = -1\n")


def _mend_settings(made: Place) -> None:
    (made.state / "tpmconsole.toml").unlink()


def _open_a_file(made: Place) -> None:
    (made.state / "identities" / "ready" / "trust.pem").chmod(0o644)


def _kill_the_server(made: Place) -> None:
    """End it as a crash would."""
    pid = int(json.loads(made.run("session show server-1 --json").stdout)["pid"])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: made.run("session show server-1").returncode, "the server is gone")


# Sets the owner hierarchy's password, as whoever set the board up may have done.
_OWN = """
import sys
from tpm2_pytss import ESAPI, ESYS_TR
with ESAPI(sys.argv[1]) as tpm:
    tpm.hierarchy_change_auth(ESYS_TR.OWNER, "owner")
"""


def _set_owner_password(made: Place) -> None:
    subprocess.run(
        [sys.executable, "-c", _OWN, "tabrmd:bus_type=session"],
        env={**made.shell.environment, "DBUS_SESSION_BUS_ADDRESS": made.bus()},
        check=True,
        capture_output=True,
    )


# In which quotes argparse puts them depends on the version of Python.
_CHOICES = ((r"\(choose from .*\)", "(choose from <text>)"),)
_SESSION = "--simulate session start"
_PROVE = "--simulate keys {state}/identities/locked/key.pem --prove"
_LOCKED = "--simulate request locked --subject CN=locked"

ROWS = (
    # 0: yes
    Row("check-of-a-good-certificate", 0, "", "--simulate import ready {certificate} --check"),
    # 1: no
    Row("certificate-of-another-key", 1, "", "--simulate import bare {certificate}"),
    Row("identity-unknown", 1, "Unknown identity", "forget nobody --yes", told=True),
    Row("request-of-nobody", 1, "Unknown identity", "--simulate request nobody --subject CN=x"),
    Row("import-for-nobody", 1, "Unknown identity", "--simulate import nobody {certificate}"),
    Row("renewal-of-nobody", 1, "Unknown identity", "--simulate renew nobody"),
    Row("trust-of-nobody", 1, "Unknown identity", "trust nobody"),
    Row("handle-for-nobody", 1, "Unknown identity", "--simulate persist nobody 0x81000012"),
    Row("signature-for-nobody", 1, "Unknown identity", "--simulate demo-ca sign nobody"),
    Row("session-of-nobody", 1, "Unknown identity", f"{_SESSION} server nobody --listen [::1]:0"),
    Row("name-taken", 1, "Name is taken", "--simulate create ready"),
    Row("nothing-to-renew", 1, "Nothing to renew", "--simulate renew bare"),
    Row("nothing-to-undo", 1, "Nothing to undo", "--simulate import bare --undo"),
    Row("identity-not-ready", 1, "Identity not ready", f"{_SESSION} server bare --listen [::1]:0"),
    Row("simulator-in-use", 1, "Simulator in use", "simulator stop"),
    Row("session-unknown", 1, "Unknown session", "session show client-99"),
    Row("stop-of-no-session", 1, "Unknown session", "session stop client-99"),
    Row("restart-of-no-session", 1, "Unknown session", "--simulate session restart client-99"),
    Row("reload-of-no-session", 1, "Unknown session", "session reload client-99"),
    Row("events-of-no-session", 1, "Unknown session", "session events client-99"),
    Row("unit-of-no-session", 1, "Unknown session", "session install client-99 --dry-run"),
    Row("file-missing", 1, "File not read", "--simulate import bare {files}/missing.pem"),
    Row("file-is-a-folder", 1, "File not read", "--simulate import bare {files}/folder"),
    Row("file-is-no-certificate", 1, "Certificate not read", "--simulate import bare {files}/junk"),
    Row("file-is-pkcs12", 1, "Certificate not read", "--simulate import bare {files}/ca.p12"),
    Row("password-file-missing", 1, "File not read", f"{_PROVE} --password-file {{files}}/missing"),
    Row(
        "out-is-a-folder",
        1,
        "Not written",
        "--simulate request bare --subject CN=x --out {files}/folder",
    ),
    Row(
        "source-encrypted",
        1,
        "Passphrase needed",
        "--simulate create x --from {files}/soft.pem.enc",
    ),
    Row("nothing-to-sign", 1, "No request", "--simulate demo-ca sign bare"),
    Row("identity-in-use", 1, "Identity is in use", "forget ready --yes"),
    # 2: wrong usage
    Row("command-unknown", 2, "Wrong usage", "frobnicate"),
    Row("option-unknown", 2, "Wrong usage", "status --frobnicate"),
    Row("options-exclude-each-other", 2, "Wrong usage", f"{NOWHERE} --simulate status"),
    Row("word-missing", 2, "Wrong usage", "create"),
    Row("choice-unknown", 2, "Wrong usage", "completion fish"),
    Row("tcti-unknown", 2, "Unknown TCTI", "--tcti nonsense status"),
    Row("eviction-unasked", 2, "Key not removed", "--simulate evict 0x81000010"),
    Row("forgetting-unasked", 2, "Identity not forgotten", "forget bare", told=True),
    Row("reset-unasked", 2, "Lock-out not reset", "--simulate lockout reset"),
    Row("trust-unasked", 2, "CA not added", "trust bare --add {ca}"),
    Row("distrust-unasked", 2, "CA not removed", "trust ready --remove {sha256}"),
    Row("anchor-unknown", 2, "No such trust anchor", "trust ready --remove 00ff"),
    Row("handle-no-number", 2, "Not a persistent handle", "--simulate evict handle --yes"),
    Row("handle-elsewhere", 2, "Not a persistent handle", "--simulate persist bare 0x80000001"),
    Row("name-no-good", 2, "Name not usable", "--simulate create ../x"),
    Row("subject-no-good", 2, "Subject not usable", "--simulate request bare --subject gateway"),
    Row(
        "san-of-no-kind",
        2,
        "Not an alternative name",
        "--simulate request bare --subject CN=x --san host:gateway",
    ),
    Row("address-without-port", 2, "Not an address", f"{_SESSION} server ready --listen localhost"),
    Row("server-no-address", 2, "Not an address", "--simulate doctor --server gateway"),
    Row(
        "count-no-number",
        2,
        "Wrong usage",
        f"{_SESSION} client ready --connect localhost:1 --count few",
    ),
    Row(
        "tls-upside-down",
        2,
        "Session not started",
        f"{_SESSION} server ready --listen [::1]:0 --min-tls 1.3 --max-tls 1.2",
    ),
    Row(
        "url-and-another-protocol",
        2,
        "Contradictory options",
        f"{_SESSION} client ready --connect https://localhost:1/a --protocol line",
    ),
    Row("url-of-http", 2, "Not an address", f"{_SESSION} client ready --connect http://localhost"),
    Row("link-local", 2, "No interface named", f"{_SESSION} server ready --listen [fe80::1]:0"),
    Row("import-of-nothing", 2, "Wrong usage", "--simulate import bare"),
    Row("undo-with-a-file", 2, "Wrong usage", "--simulate import bare {certificate} --undo"),
    Row("password-empty", 2, "No password", f"{_PROVE} --password-file {{files}}/empty"),
    Row(
        "password-of-which-key",
        2,
        "Which key?",
        "--simulate keys --prove --password-file -",
        text="right\n",
    ),
    Row(
        "source-of-another-kind",
        2,
        "Another algorithm",
        "--simulate create x --from {files}/soft.pem --algorithm rsa-2048",
    ),
    Row("tty-no-good", 2, "No such terminal", "install kiosk --tty ../x --dry-run"),
    Row(
        "terminal-type-no-good",
        2,
        "No such terminal type",
        "install serial-console --term !x --dry-run",
    ),
    # 3: no TPM
    Row("status-of-none", 3, "No TPM reached", f"{NOWHERE} status", told=True),
    Row("selftest-of-none", 3, "No TPM reached", f"{NOWHERE} selftest"),
    Row("key-in-none", 3, "No TPM reached", f"{NOWHERE} create x"),
    Row("eviction-from-none", 3, "No TPM reached", f"{NOWHERE} evict 0x81000010 --yes"),
    Row("request-with-none", 3, "No TPM reached", f"{NOWHERE} request bare --subject CN=x"),
    Row("signature-with-none", 3, "No TPM reached", f"{NOWHERE} demo-ca sign ready"),
    Row(
        "session-with-none",
        3,
        "No TPM reached",
        f"{NOWHERE} session start server ready --listen [::1]:0",
    ),
    # 4: the TPM refuses
    Row("handle-in-use", 4, "Handle in use", "--simulate create x --handle 0x81000010"),
    Row("password-needed", 4, "Password needed", _LOCKED, told=True),
    # From here on one after the other: a session is there while it starts, wrong passwords are
    # counted, and what others need is changed.
    Row(
        "nobody-listens",
        1,
        "Connection refused",
        f"{_SESSION} client ready --connect 127.0.0.1:1 --count 1",
        alone=True,
    ),
    Row(
        "password-wrong",
        4,
        "Wrong password",
        f"{_LOCKED} --password-file -",
        alone=True,
        text="wrong\n",
    ),
    Row(
        "password-wrong-again",
        4,
        "Wrong password",
        f"{_LOCKED} --password-file {{files}}/wrong",
        alone=True,
    ),
    Row(
        "password-for-the-last-time",
        4,
        "One attempt left",
        f"{_LOCKED} --password-file {{files}}/wrong",
        alone=True,
    ),
    Row(
        "reset-refused",
        4,
        "Wrong password",
        "--simulate lockout reset --yes --password-file {files}/wrong",
        alone=True,
    ),
    Row(
        "owner-password-needed",
        4,
        "Password needed",
        "--simulate persist bare 0x81000012 --yes",
        before=_set_owner_password,
    ),
    Row(
        "owner-password-wrong",
        4,
        "Wrong password",
        "--simulate evict 0x81000010 --yes --owner-password-file {files}/wrong",
        alone=True,
    ),
    Row("repair-unasked", 2, "Not repaired", "doctor --repair", before=_open_a_file),
    Row("settings-no-good", 2, "Settings not usable", "session list", before=_spoil_settings),
    # 5: something unexpected
    Row(
        "session-file-damaged",
        5,
        "Session file damaged",
        "session install server-9 --dry-run",
        before=_mend_settings,
        told=True,
    ),
    Row("session-that-crashed", 1, "", "session show server-1", before=_kill_the_server),
    Row("simulator-that-is-stopped", 0, "", "simulator stop", alone=True),
    Row("simulator-that-does-not-run", 1, "", "simulator status", alone=True),
)


@dataclass(frozen=True)
class Ended:
    """How a row's command ended: with ``--json``, and without."""

    code: int
    answer: Any
    errors: str
    told: subprocess.CompletedProcess[str] | None


def _end(board: Place, row: Row) -> Ended:
    if row.before:
        row.before(board)
    done = board.run(row.command, "--json", text=row.text)
    told = board.run(row.command, text=row.text) if row.told else None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = done.stdout
    return Ended(done.returncode, answer, done.stderr, told)


@pytest.fixture(scope="module")
def ended(board: Place) -> dict[str, Ended]:
    """All rows by name; those that leave others alone two at a time."""
    free = [row for row in ROWS if not row.waits]
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda row: _end(board, row), free))
    found = {row.name: end for row, end in zip(free, ends, strict=True)}
    return found | {row.name: _end(board, row) for row in ROWS if row.waits}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_how_a_command_ends(ended: dict[str, Ended], row: Row) -> None:
    found = ended[row.name]
    assert (row.code, "") == (found.code, found.errors), found.answer
    error = found.answer.get("error", {}) if isinstance(found.answer, dict) else {}
    assert error.get("title", "") == row.title
    if row.title:
        assert list(error)[:4] == ["title", "cause", "remedy", "code"]
        assert error["code"] == row.code
    if found.told is not None:
        said = f"tpmconsole: {error['title']}: {error['cause']}\ntry: {error['remedy']}\n"
        assert (found.told.returncode, found.told.stdout) == (row.code, "")
        assert found.told.stderr == said


def test_the_words_of_every_error(board: Place, ended: dict[str, Ended]) -> None:
    mask = board.mask()
    found = {
        row.name: {
            "command": row.command,
            "answer": mask.data(ended[row.name].answer, rules=_CHOICES),
        }
        for row in ROWS
        if row.title
    }
    check("exit-codes.json", as_json(found))
