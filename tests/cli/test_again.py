"""Commands that a fleet's tool runs again and again: the second time nothing changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.pki import ca
from support.shell import Shell

SUBJECT = ("--subject", "CN=gateway, O=Example", "--san", "ip:127.0.0.1", "--san", "dns:localhost")


@pytest.fixture
def gateway(shell: Shell) -> Shell:
    """A board with an identity that has a certificate."""
    shell.simulate("create", "gateway")
    shell.simulate("request", "gateway", *SUBJECT, "--role", "server")
    shell.simulate("demo-ca", "sign", "gateway")
    return shell


def _files(state: Path) -> dict[str, bytes]:
    folder = state / "identities" / "gateway"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_there_already_is_not_made_again(gateway: Shell, state: Path) -> None:
    before, audit = _files(state), (state / "audit.jsonl").read_text()

    again = gateway.simulate("create", "gateway", "--if-missing", "--algorithm", "ec-p256")
    assert (again["changed"], again["identity"]) == (False, "gateway")
    # The same names in another order and writing are the same request.
    names = ("--san", "dns:localhost", "--san", "ip:127.0.0.1")
    again = gateway.simulate(
        *("request", "gateway", "--if-missing", "--subject", "CN=gateway,O=Example", *names),
        *("--role", "server"),
    )
    assert again["changed"] is False
    assert again["pem"].encode() == before["request.pem"]
    folder = state / "identities" / "gateway"
    again = gateway.simulate(
        *("import", "gateway", str(folder / "certificate.pem")),
        *("--trust", str(folder / "trust.pem")),
    )
    assert (again["installed"], again["changed"]) == (True, False)

    assert _files(state) == before
    assert (state / "audit.jsonl").read_text() == audit


def test_another_request_is_made_and_another_key_is_refused(gateway: Shell, state: Path) -> None:
    before = _files(state)
    made = gateway.simulate("request", "gateway", "--if-missing", *SUBJECT[:2], "--role", "client")
    assert made["changed"] is True
    assert made["pem"].encode() != before["request.pem"]
    error = gateway.refuse(
        1, "--simulate", "create", "gateway", "--if-missing", "--algorithm", "ec-p384"
    )
    assert error["title"] == "Name is taken"
    assert _files(state)["key.pem"] == before["key.pem"]


def _trust_another(shell: Shell, session: str) -> None:
    """It is told that the session does not, and what would make it."""
    file = shell.state / "other.pem"
    file.write_bytes(ca("Other").pem)
    told = shell.simulate("trust", "gateway", "--add", str(file), "--yes")
    reload = f"tpmconsole session reload {session}"
    assert told["outdated"] == [{"session": session, "command": reload}]
    folder = shell.state / "identities" / "gateway"
    again = shell.simulate("import", "gateway", str(folder / "certificate.pem"))
    assert "outdated" not in again  # nothing was changed


def test_a_session_that_runs_is_not_started_twice(gateway: Shell) -> None:
    start = ("session", "start", "server", "gateway", "--listen", "127.0.0.1:0", "--if-missing")
    first = gateway.simulate(*start)
    try:
        assert first["changed"] is True
        second = gateway.simulate(*start)
        assert (second["id"], second["pid"], second["changed"]) == (
            first["id"],
            first["pid"],
            False,
        )
        assert len(json.loads(gateway("session", "list", "--json").stdout)["sessions"]) == 1
        _trust_another(gateway, first["id"])
    finally:
        stopped = gateway.simulate("session", "stop", first["id"])
    assert stopped["changed"] is True
    assert gateway.simulate("session", "stop", first["id"])["changed"] is False
