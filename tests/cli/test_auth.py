"""Every command times what a TPM may ask for: given in a file, or on standard input."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace

import pytest
from support.passwords import write_password
from support.shell import Shell

from tpmconsole.tpm import keyfile
from tpmconsole.tpm.simulator import Simulator

HANDLE = "0x81000010"
PARENT = "0x81000001"
ENDORSEMENT = 0x4000000B  # TPM_RH_ENDORSEMENT (Part 2, 7.4)
STORAGE = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
SUBJECT = ("--subject", "CN=gw", "--san", "dns:localhost", "--role", "both")
SERVER = ("session", "start", "server", "gw", "--listen", "localhost:0")
CLIENT = ("session", "start", "client", "gw", "--interval", "60", "--connect")
OPTIONS = {
    "key": "--password-file",
    "parent": "--parent-password-file",
    "owner": "--owner-password-file",
    # Of a key file below another hierarchy it is that hierarchy's.
    "endorsement": "--owner-password-file",
}
# What else a TPM may refuse a command without: each with the password that is its own name.
ASKED = [(), ("key",), ("owner",), ("parent",), ("key", "parent"), ("endorsement",)]


def _tools(shell: Shell, *commands: str) -> None:
    """Run tpm2-tools on the simulated TPM, as someone may have done to set up the board."""
    connection = Simulator(shell.state / "simulator").ensure()
    environment = {**os.environ, **connection.environment, "TPM2TOOLS_TCTI": connection.tcti}
    for command in commands:
        done = subprocess.run(
            command.split(), env=environment, cwd=shell.state, capture_output=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)


def _lock(shell: Shell, *hierarchies: str) -> None:
    """Set the passwords of the TPM's hierarchies."""
    _tools(shell, *(f"tpm2_changeauth -c {one} {one}" for one in hierarchies))


def _adopt(shell: Shell, above: str, password: str) -> None:
    """An identity whose key another tool made.

    Args:
        above: ``parent`` for a persistent parent of that password, or a hierarchy.
        password: the key's; empty for none.
    """
    folder = shell.state / "identities" / "gw"
    folder.mkdir(parents=True, mode=0o700)
    if above == "parent":
        parent, given = PARENT, "-P parent"
        made: tuple[str, ...] = (
            "-C o -G ecc -p parent",
            f"tpm2_evictcontrol -Q -C o -c parent.ctx {PARENT}",
        )
    else:
        parent, given = "parent.ctx", ""
        # The primary key that a key file means by a hierarchy (TCG's EC storage template).
        made = (f"-C {above} -G ecc256:null:aes128cfb -a {STORAGE}|noda|restricted|decrypt",)
    secret = f"-p {password}" if password else ""
    _tools(
        shell,
        f"tpm2_createprimary -Q -c parent.ctx {made[0]}",
        *made[1:],
        f"tpm2_create -Q -C {parent} {given} -G ecc256 -u key.pub -r key.priv {secret}"
        f" -a {STORAGE}|sign",
        f"tpm2_encodeobject -C {parent} {given} -u key.pub -r key.priv -o key.pem",
    )
    # tpm2-tools 5 writes the opposite of what the options say about the key's password.
    key = keyfile.parse((shell.state / "key.pem").read_bytes())
    where = ENDORSEMENT if above == "endorsement" else key.parent
    key = replace(key, empty_auth=not password, parent=where)
    (folder / "key.pem").write_bytes(key.to_pem())
    (folder / "identity.toml").write_text(
        'name = "gw"\nalgorithm = "ec-p256"\ncreated = "2026-01-01T00:00:00+00:00"\n'
        f'auth = "{"password" if password else "none"}"\n'
    )
    for file in folder.iterdir():
        file.chmod(0o600)


@pytest.mark.parametrize("stdin", [False, True], ids=["file", "stdin"])
@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "-".join(asked) or "none")
def test_every_command_takes_what_the_tpm_asks_for(
    shell: Shell, asked: tuple[str, ...], stdin: bool
) -> None:
    for one in asked:
        write_password(shell.state / one, f"{one}\n")
    if "owner" in asked:
        _lock(shell, "owner", "endorsement", "lockout")

    def run(*command: str, but: str = "") -> str:
        """A command with everything that is asked for but one, which it never needs."""
        needed = [one for one in asked if one != but]
        files = {one: "-" if stdin else str(shell.state / one) for one in needed}
        given = [word for one in needed for word in (OPTIONS[one], files[one])]
        text = "".join(f"{one}\n" for one in needed)
        done = shell("--simulate", *command, *given, text=text)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    adopted = {"parent", "endorsement"} & set(asked)
    for above in adopted:
        _adopt(shell, above, "key" if "key" in asked else "")
    if "endorsement" in asked:
        _lock(shell, "endorsement")
    if not adopted:
        run("create", "gw")
    run("request", "gw", *SUBJECT)
    run("demo-ca", "sign", "gw")
    run("renew", "gw")
    certificate = shell.state / "identities" / "gw" / "certificate.pem"
    run("import", "gw", str(certificate))
    proved = run("keys", str(shell.state / "identities" / "gw" / "key.pem"), "--prove")
    assert "the signature is good" in proved
    run(*SERVER)
    (server,) = shell.simulate("session", "list")["sessions"]
    run(*CLIENT, f"localhost:{server['address'].rpartition(':')[2]}")
    run("session", "restart", "client-1")
    for session in ("client-2", server["id"]):
        shell.simulate("session", "stop", session)
    run("persist", "gw", HANDLE, "--yes", but="key")
    if not adopted:  # evict asks for the owner's, and for no other
        run("evict", HANDLE, "--yes", but="key")
        assert shell.simulate("keys")["persistent"] == []


@pytest.mark.parametrize("stdin", [False, True], ids=["file", "stdin"])
def test_the_lockout_password_gives_the_tries_back(shell: Shell, stdin: bool) -> None:
    for name in ("lockout", "key", "wrong"):
        write_password(shell.state / name, f"{name}\n")
    key = str(shell.state / "identities" / "gw" / "key.pem")
    reset = ("--simulate", "lockout", "reset", "--yes")
    shell.simulate("create", "gw", "--password-file", str(shell.state / "key"))
    _lock(shell, "lockout")
    wrong = ("--prove", "--password-file", str(shell.state / "wrong"))
    assert shell("--simulate", "keys", key, *wrong).returncode == 1
    # Without it nothing is sent: a wrong lockout password is refused for a long time.
    missing = shell.refuse(4, *reset)
    assert "--password-file FILE gives it" in missing["remedy"]
    file = "-" if stdin else str(shell.state / "lockout")
    done = shell(*reset, "--password-file", file, "--json", text="lockout\n")
    answer = json.loads(done.stdout)
    assert (answer["forgiven"], answer["lockout"]["failed_tries"]) == (1, 0)
    refused = shell.refuse(4, *reset, "--password-file", str(shell.state / "wrong"))
    assert "--password-file" not in refused["remedy"]
    # Now not even the right one is taken, which is said.
    assert "17 min" in str(shell.refuse(4, *reset, "--password-file", str(shell.state / "lockout")))


def test_an_endorsement_password_is_told_and_keys_of_the_owner_need_none(shell: Shell) -> None:
    _lock(shell, "endorsement")
    hierarchies = shell.simulate("status")["hierarchies"]
    assert [name for name, one in hierarchies.items() if one["auth_set"]] == ["endorsement"]
    words = "endorsement password set"
    assert words in shell("--simulate", "status").stdout
    assert words in shell("--simulate", "report").stdout
    found = json.loads(shell("--simulate", "doctor", "--json").stdout)["findings"]
    (one,) = (finding for finding in found if finding["probe"] == "hierarchies")
    assert one["state"] == "ok"
    assert words in one["finding"]
    shell.simulate("create", "gw")
    shell.simulate("request", "gw", *SUBJECT)
    shell.simulate("demo-ca", "sign", "gw")
    shell.simulate("persist", "gw", HANDLE, "--yes")
    shell.simulate("evict", HANDLE, "--yes")
