"""README's "First certificate", command by command, with a CA made by openssl."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

from support.authority import Authority
from support.shell import Shell
from support.waiting import assert_nothing_left

README = Path(__file__).parents[2] / "README.md"
# Parts that a test cannot run as written: a port that may be in use, a unit in /etc.
INSTEAD = {"0.0.0.0:8443": ("127.0.0.1:0",), "install": ("install", "--dry-run")}


def written() -> list[list[str]]:
    """The commands of that section."""
    block = re.search(r"^## First certificate\n\n```\n(.*?)^```", README.read_text(), re.M | re.S)
    assert block
    return [shlex.split(line, comments=True)[1:] for line in block[1].splitlines()]


def test_the_six_commands_lead_to_a_running_server(state: Path, tmp_path: Path) -> None:
    shell, authority = Shell(state), Authority(tmp_path / "ca")
    (tmp_path / "ca.pem").write_bytes(authority.root.read_bytes())

    # The simulated TPM by its TCTI, as on a board: a service cannot use --simulate.
    shell("simulator", "start")
    bus = json.loads(shell("simulator", "status", "--json").stdout)
    variables = {"DBUS_SESSION_BUS_ADDRESS": bus["bus"], "TPMCONSOLE_TCTI": bus["tcti"]}

    def run(words: list[str]) -> str:
        words = [part for word in words for part in INSTEAD.get(word, (word,))]
        done = subprocess.run(
            [shell.python, "-m", "tpmconsole", "--state", str(state), *words],
            cwd=tmp_path,
            env=shell.environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    commands = written()
    assert [words[0] for words in commands] == [
        *("status", "create", "request", "import", "session", "session")
    ]
    try:
        for words in commands:
            if words[0] == "import":
                leaf = authority.sign(tmp_path / "gateway.csr")
                (tmp_path / "gateway.pem").write_bytes(leaf.read_bytes())
            printed = run(words)
        assert "systemd" in printed
    finally:
        shell("session", "stop", "server-1")
        shell("simulator", "stop")
    assert_nothing_left(state)
