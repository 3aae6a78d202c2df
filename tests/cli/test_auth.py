"""Every command times what a TPM may ask for: given in a file, or on standard input."""

from __future__ import annotations

import os
import subprocess

import pytest
from support.shell import Shell

from tpmconsole.tpm.simulator import Simulator

HANDLE = "0x81000010"
SUBJECT = ("--subject", "CN=gw", "--san", "dns:localhost", "--role", "both")
SERVER = ("session", "start", "server", "gw", "--listen", "localhost:0")
CLIENT = ("session", "start", "client", "gw", "--interval", "60", "--connect")


def _set_up(shell: Shell) -> None:
    """Set the passwords of the TPM's hierarchies, as whoever set the board up may have done."""
    connection = Simulator(shell.state / "simulator").ensure()
    environment = {**os.environ, **connection.environment, "TPM2TOOLS_TCTI": connection.tcti}
    for context in ("owner", "endorsement", "lockout"):
        command = ["tpm2_changeauth", "-c", context, context]
        subprocess.run(command, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize("stdin", [False, True], ids=["file", "stdin"])
@pytest.mark.parametrize("asked", ["", "key", "owner"], ids=["none", "key", "owner"])
def test_every_command_takes_what_the_tpm_asks_for(shell: Shell, asked: str, stdin: bool) -> None:
    (shell.state / "password").write_text(f"{asked}\n")
    option = {"": "", "key": "--password-file", "owner": "--owner-password-file"}[asked]
    if asked == "owner":
        _set_up(shell)

    def run(*command: str) -> str:
        file = "-" if stdin else str(shell.state / "password")
        given = (option, file) if option else ()
        done = shell("--simulate", *command, *given, text=f"{asked}\n")
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def own(*command: str) -> str:
        """A command that never needs the key's password."""
        return run(*command) if asked != "key" else shell("--simulate", *command).stdout

    run("create", "gw")
    run("request", "gw", *SUBJECT)
    run("demo-ca", "sign", "gw")
    run("renew", "gw")
    certificate = shell.state / "identities" / "gw" / "certificate.pem"
    run("import", "gw", str(certificate))
    run("keys", str(shell.state / "identities" / "gw" / "key.pem"), "--prove")
    run(*SERVER)
    (server,) = shell.simulate("session", "list")
    run(*CLIENT, f"localhost:{server['address'].rpartition(':')[2]}")
    run("session", "restart", "client-1")
    for session in ("client-2", server["id"]):
        shell.simulate("session", "stop", session)
    own("persist", "gw", HANDLE, "--yes")
    own("evict", HANDLE, "--yes")
    assert shell.simulate("keys")["persistent"] == []
