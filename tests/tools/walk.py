"""The whole mission by commands, as a technician would type them: ``python -m tools.walk``.

A key is made in the TPM, certified, and used by a mutual-TLS server and client; then the client's
key file is stolen and tried on a second TPM, which refuses it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from support.waiting import wait_until

COMMAND_S = 60


class Walk:
    """Runs commands on simulated TPMs, and says each.

    Args:
        say: gets a line for every step.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def run(self, state: Path, *arguments: str, code: int = 0) -> Any:
        """One command with ``--json``; its answer.

        Raises:
            AssertionError: it did not end with ``code``.
        """
        self.say(f"$ tpmconsole {' '.join(arguments)}")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tpmconsole", "--simulate", "--state", str(state)),
                *arguments,
                "--json",
            ],
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    def provision(self, state: Path, name: str, role: str) -> None:
        """Key, request and certificate of one identity."""
        made = self.run(state, "create", name)
        self.say(f"  {made['algorithm']} key: {made['key']}")
        asked = self.run(
            state,
            *("request", name, "--subject", f"CN={name},O=Example", "--role", role),
            *("--san", "dns:localhost", "--san", "ip:127.0.0.1", "--attest"),
        )
        self.say(f"  attested by {asked['chip']}")
        signed = self.run(state, "demo-ca", "sign", name)
        first, *more = signed["verdicts"]
        self.say(f"  {first['check']}: {first['text']}")
        self.say(f"  {len(more)} more verdicts, installed: {signed['installed']}")

    def session(self, state: Path, session: str) -> dict[str, Any]:
        """One session's facts, said."""
        facts: dict[str, Any] = self.run(state, "session", "show", session)
        peer = (facts["peer"] or {}).get("subject")
        self.say(
            f"  {facts['role']} {facts['state']}: {facts['protocol_version']} {facts['cipher']},"
            f" engine {facts['engine']}, peer {peer}, {facts['messages']} messages"
        )
        return facts


def free_port() -> int:
    """A port that nobody listens on now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
        return port


def walk(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Walk from nothing to a mutual-TLS session, and to the theft that fails.

    Args:
        folder: an empty folder for two state directories; a short path, for sockets are in it.
        say: gets a line for every step.

    Returns:
        The facts of ``server`` and ``client``; ``theft``, the stolen key as the second TPM sees it,
        and ``refused``, the error of a request that uses it.
    """
    steps = Walk(say)
    board, thief = folder / "board", folder / "thief"
    try:
        return _walk(steps, board, thief)
    finally:
        for state in (board, thief):
            for one in steps.run(state, "session", "list")["sessions"]:
                steps.run(state, "session", "stop", one["id"])
            steps.run(state, "simulator", "stop")


def _walk(steps: Walk, board: Path, thief: Path) -> dict[str, Any]:
    steps.provision(board, "gateway", "server")
    steps.provision(board, "pump", "client")

    address = f"localhost:{free_port()}"
    server = steps.run(board, "session", "start", "server", "gateway", "--listen", address)["id"]
    client = steps.run(
        board,
        *("session", "start", "client", "pump", "--connect", address),
        *("--protocol", "line", "--count", "5", "--interval", "0.1"),
    )["id"]

    def ended() -> bool:
        return bool(steps.run(board, "session", "show", client)["state"] == "stopped")

    wait_until(ended, "the client has sent its messages", seconds=30)

    def told() -> bool:  # a session tells its figures once a second
        return bool(steps.run(board, "session", "show", server)["messages"] == 5)

    wait_until(told, "the server has told of them")
    facts = {"client": steps.session(board, client), "server": steps.session(board, server)}

    steps.say("  the client's key file is copied to another board")
    steps.run(thief, "create", "own")
    stolen = thief / "identities" / "own" / "key.pem"
    stolen.write_bytes((board / "identities" / "pump" / "key.pem").read_bytes())
    theft = steps.run(thief, "keys", "--prove", code=1)["files"][0]
    steps.say(f"  usable there: {theft['usable']}, {theft['reason']}")
    refused = steps.run(thief, "request", "own", "--subject", "CN=pump", code=4)["error"]
    steps.say(f"  a request with it: {refused['title']}: {refused['cause']}")
    return facts | {"theft": theft, "refused": refused}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="walk") as name:
        walk(Path(name), print)
