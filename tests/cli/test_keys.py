"""The commands about keys: importing, proving, owner passwords, lock-out."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.passwords import write_password
from support.shell import QuickShell, Shell

from tpmconsole.tpm.keyfile import parse
from tpmconsole.tpm.simulator import Simulator

HANDLE = "0x81000022"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A state directory with a running simulator; its TPM has no persistent keys between tests."""
    shell = QuickShell(tmp_path_factory.mktemp("s"))
    for name in ("right", "wrong", "owner"):
        write_password(shell.state / name, f"{name}\n")
    try:
        yield shell
    finally:
        Simulator(shell.state / "simulator").stop()


def software_key(path: Path, *options: str) -> Path:
    """A private key made by OpenSSL."""
    command = ("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", str(path))
    subprocess.run(["/usr/bin/openssl", *command, *options], check=True, capture_output=True)
    return path


def test_an_imported_key_is_marked_for_good_and_its_source_told(board: Shell) -> None:
    source = software_key(board.state / "elsewhere.pem", "-aes256", "-pass", "pass:right")
    create = ("--simulate", "create", "guest", "--from", str(source))
    assert board.refuse(1, *create)["needs"] == "source"
    wrong = ("--from-password-file", str(board.state / "wrong"))
    assert board.refuse(1, *create, *wrong)["title"] == "Wrong passphrase"
    right = ("--from-password-file", str(board.state / "right"))
    assert (
        board.refuse(2, *create, *right, "--algorithm", "ec-p384")["title"] == "Another algorithm"
    )
    assert "guest" not in board.identities()
    made = board.simulate(*create[1:], *right)
    assert (made["origin"], made["source"]) == ("imported", str(source))
    assert "existed outside the TPM" in made["warning"]
    assert source.exists()

    record = board.state / "identities" / "guest" / "identity.toml"
    assert 'origin = "imported"' in record.read_text()
    board.simulate("request", "guest", "--subject", "CN=guest", "--san", "dns:guest")
    board.simulate("demo-ca", "sign", "guest")
    board.simulate("persist", "guest", "0x81000020", "--yes")
    assert 'origin = "imported"' in record.read_text()
    (key,) = board.simulate("keys", "--prove")["persistent"]
    assert (key["identity"], key["origin"], key["usable"]) == ("guest", "imported", True)
    assert "IMPORTED" in board("--simulate", "keys").stdout
    audit = (board.state / "audit.jsonl").read_text()
    assert str(source) in audit

    again = ("--simulate", "persist", "guest", "0x81000022", "--yes")
    error = board.refuse(1, *again)
    assert "already at 0x81000020" in error["cause"]
    assert "evict" not in error["remedy"]  # the key is nowhere else
    error = board.refuse(2, "--simulate", "evict", "0x81000020")
    assert "identity guest: its key" in error["cause"]
    assert "certificate CN=guest" in error["cause"]
    evicted = board.simulate("evict", "0x81000020", "--yes")
    assert len(evicted["needed_by"]) == 2
    assert "which is empty now" in board.refuse(1, *again)["cause"]
    findings = json.loads(board("--simulate", "doctor", "--json").stdout)["findings"]
    (gone,) = [one for one in findings if one["probe"] == "identity" and "guest" in one["finding"]]
    assert gone["state"] == "fail"
    assert "nothing is at 0x81000020" in gone["finding"]
    assert "tpmconsole forget guest" in gone["remedy"]
    assert "certificate CN=guest" in board.refuse(2, "forget", "guest")["cause"]
    assert board("forget", "guest", "--yes").returncode == 0
    assert "guest" not in board.identities()
    assert '"forget"' in (board.state / "audit.jsonl").read_text()


def test_a_key_at_a_handle_is_adopted_and_kept(board: Shell) -> None:
    board.simulate("create", "before", "--handle", HANDLE)
    (key,) = board.simulate("keys")["persistent"]
    adopt = ("create", "after", "--from-handle", HANDLE)
    assert "has its key at" in board.refuse(4, "--simulate", *adopt)["cause"]
    board.simulate("forget", "before", "--yes")
    for more in (
        ("--no-lockout",),
        ("--algorithm", "ec-p256"),
        ("--from", "x.pem"),
        ("--from-file", "x.pem"),
        ("--handle", HANDLE),
    ):
        error = board.refuse(2, "--simulate", *adopt, *more)
        assert error["title"] == "Key not adopted"
        assert more[0] in error["cause"] + error["remedy"]
    made = board.simulate(*adopt)
    assert (made["key"], made["origin"], made["changed"]) == (HANDLE, "adopted", True)
    assert made["adopted_from"] == HANDLE
    noted = tomllib.loads((board.state / "identities" / "after" / "identity.toml").read_text())
    assert (noted["key_name"], noted["key_sha256"]) == (key["name"], made["key_sha256"])
    assert board.simulate(*adopt, "--if-missing")["changed"] is False
    board.simulate("forget", "after", "--yes")
    board.simulate("evict", HANDLE, "--yes")
    assert "nothing at" in board.refuse(4, "--simulate", *adopt)["cause"]


def test_a_key_file_is_adopted_and_a_copy_of_it_kept(board: Shell) -> None:
    board.simulate("create", "before", "--password-file", str(board.state / "right"))
    path = board.state / "moved.pem"
    path.write_bytes((board.state / "identities" / "before" / "key.pem").read_bytes())
    board.simulate("forget", "before", "--yes")
    adopt = ("create", "after", "--from-file", str(path))
    assert board.refuse(4, "--simulate", *adopt)["needs"] == "key"
    made = board.simulate(*adopt, "--password-file", str(board.state / "right"))
    assert (made["origin"], made["adopted_from"]) == ("adopted", str(path))
    assert board.simulate(*adopt, "--if-missing")["changed"] is False
    assert path.exists()
    # Each of the two options for a file names the other for the other kind of file.
    error = board.refuse(2, "--simulate", "create", "other", "--from", str(path))
    assert error["remedy"].endswith("tpmconsole create NAME --from-file FILE")
    soft = software_key(board.state / "soft.pem")
    error = board.refuse(4, "--simulate", "create", "other", "--from-file", str(soft))
    assert error["remedy"].endswith("tpmconsole create NAME --from FILE")
    assert board.refuse(1, "--simulate", "create", "other", "--from-file", "/nowhere")["cause"]
    assert "other" not in board.identities()
    board.simulate("forget", "after", "--yes")


def test_a_handle_in_use_leaves_no_imported_identity(board: Shell) -> None:
    source = software_key(board.state / "twice.pem")
    create = ("create", "--from", str(source), "--handle", "0x81000021")
    board.simulate(*create, "one")
    assert board.refuse(4, "--simulate", *create, "two")["title"] == "Handle in use"
    assert "two" not in board.identities()
    board.simulate("evict", "0x81000021", "--yes")


def test_wrong_passwords_until_lock_out_and_back(shell: Shell) -> None:
    for name in ("right", "wrong"):
        write_password(shell.state / name, f"{name}\n")
    right, wrong = (("--password-file", str(shell.state / name)) for name in ("right", "wrong"))
    shell.simulate("create", "locked", *right)
    key = str(shell.state / "identities" / "locked" / "key.pem")

    def prove(*options: str) -> tuple[bool | None, str]:
        done = shell("--simulate", "keys", key, "--prove", *options, "--json")
        (found,) = json.loads(done.stdout)["files"]
        assert done.returncode == (0 if found["usable"] else 1)
        return found["usable"], found["reason"]

    def used() -> int:
        return int(shell.simulate("status")["lockout"]["failed_tries"])

    assert prove() == (None, prove()[1])
    assert prove(*right)[0] is True
    for count in (1, 2):
        assert prove(*wrong)[0] is False
        assert used() == count
    usable, reason = prove(*wrong)
    assert usable is None
    assert "--last-try" in reason
    request = ("--simulate", "request", "locked", "--subject", "CN=l", *wrong)
    assert "--last-try" in shell.refuse(4, *request)["remedy"]
    assert used() == 2
    assert "locked now" in shell.refuse(4, *request, "--last-try")["cause"]
    assert "too many wrong passwords" in prove(*right, "--last-try")[1]
    assert shell.simulate("status")["lockout"]["locked"]
    error = shell.refuse(2, "--simulate", "lockout", "reset")
    assert "who guesses passwords" in error["cause"]
    refused = shell.refuse(4, "--simulate", "lockout", "reset", "--yes", *wrong)
    assert "nothing was sent" in refused["cause"]
    answer = shell.simulate("lockout", "reset", "--yes")
    assert (answer["lockout"]["locked"], answer["lockout"]["failed_tries"]) == (False, 0)
    assert prove(*right)[0] is True
    assert '"lockout reset"' in (shell.state / "audit.jsonl").read_text()


@pytest.mark.parametrize("path", [".", "../gw", "key.pem", "../gw/key.pem", "../../link/gw"])
def test_an_identity_s_key_is_known_however_its_path_is_written(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    shell.simulate("create", "gw")
    identities = shell.state / "identities"
    (shell.state / "link").symlink_to(identities)
    monkeypatch.chdir(identities / "gw")
    (found,) = Shell(shell.state).simulate("keys", path, "--prove")["files"]
    assert (found["identity"], found["usable"]) == ("gw", True)


def test_a_check_that_fails_says_so_by_its_exit_code(shell: Shell, tmp_path: Path) -> None:
    shell.simulate("create", "gw")
    shell.simulate("create", "locked", "--password-file", str(_password(shell)))
    identities = shell.state / "identities"
    shell.simulate("keys", "--prove")  # one that asks for a password is left alone
    assert (
        shell("--simulate", "keys", str(identities / "locked/key.pem"), "--prove").returncode == 1
    )
    missing = str(tmp_path / "missing.pem")
    assert shell("--simulate", "keys", missing).returncode == 1
    assert shell("--simulate", "keys", missing, "--prove").returncode == 1
    key = identities / "gw/key.pem"
    key.write_bytes(replace(parse(key.read_bytes()), private=b"\1" * 126).to_pem())
    for paths in ((), (str(key),), (str(key.parent), str(identities / "locked"))):
        assert shell("--simulate", "keys", *paths, "--prove").returncode == 1, paths


def _password(shell: Shell) -> Path:
    write_password(shell.state / "right", "right\n")
    return shell.state / "right"


def test_a_password_is_for_one_key_and_of_64_bytes(board: Shell) -> None:
    board.simulate("create", "plain")
    board.simulate("create", "plain2")
    right = ("--password-file", str(board.state / "right"))
    error = board.refuse(2, "--simulate", "keys", "--prove", *right)
    assert error["title"] == "Which key?"
    write_password(board.state / "long", "ä" * 33)
    long = ("--password-file", str(board.state / "long"))
    error = board.refuse(2, "--tcti", "device:/nowhere", "create", "x", *long)
    assert "66 bytes" in error["cause"]


def test_the_owner_s_password_comes_from_a_file(shell: Shell) -> None:
    write_password(shell.state / "owner", "owner\n")
    owner = ("--owner-password-file", str(shell.state / "owner"))
    shell.simulate("create", "before")
    connection = Simulator(shell.state / "simulator").ensure()
    code = (
        "import sys; from tpm2_pytss import ESAPI, ESYS_TR\n"
        "with ESAPI(sys.argv[1]) as esapi: esapi.hierarchy_change_auth(ESYS_TR.OWNER, 'owner')"
    )
    environment = {**shell.environment, **connection.environment}
    command = [str(Path(shell.python)), "-c", code, connection.tcti]
    subprocess.run(command, env=environment, check=True)
    for command in (
        ["create", "after"],
        ["persist", "before", "0x81000010", "--yes"],
        ["request", "after", "--subject", "CN=after"],
    ):
        error = shell.refuse(4, "--simulate", *command)
        assert (error["title"], error["needs"]) == ("Password needed", "hierarchy")
        shell.simulate(*command, *owner)
    (key,) = shell.simulate("keys")["persistent"]
    assert key["identity"] == "before"
    (proved,) = shell.simulate("keys", "--prove", *owner)["files"]
    assert (proved["identity"], proved["usable"]) == ("after", True)
    assert shell.refuse(4, "--simulate", "evict", "0x81000010", "--yes")["needs"] == "hierarchy"
    shell.simulate("evict", "0x81000010", "--yes", *owner)


def test_no_lockout_is_told_with_its_price(board: Shell) -> None:
    right = ("--password-file", str(board.state / "right"))
    done = board("--simulate", "create", "careless", *right, "--no-lockout")
    assert "guess forever" in done.stdout
    done = board("--simulate", "create", "careful", *right)
    assert "count towards the TPM's lock-out" in done.stdout
    found = {one["identity"]: one for one in board.simulate("keys")["files"]}
    assert found["careful"]["counts_towards_lockout"]
    assert not found["careless"]["counts_towards_lockout"]


def test_what_is_not_there_is_not_forgotten_by_making_it(shell: Shell) -> None:
    error = shell.refuse(1, "forget", "nobody")
    assert error["title"] == "Unknown identity"
    assert "create" not in error["remedy"]
