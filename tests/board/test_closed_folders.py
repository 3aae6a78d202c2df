"""Folders that this user cannot read, as a sudo leaves them: rows, without an invented state."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.shell import Shell
from support.waiting import wait_until


class PlainShell(Shell):
    """The command line without the right of root to look into every folder."""

    def __call__(
        self, *arguments: str, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *("setpriv", "--bounding-set=-dac_override,-dac_read_search"),
                *(self.python, "-m", "tpmconsole", "--state", str(self.state), *arguments),
            ],
            capture_output=True,
            text=True,
            env=self.environment,
            input=text,
            timeout=60,
            check=False,
        )


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """A folder that nobody may look into."""
    mode = folder.stat().st_mode & 0o777
    folder.chmod(0)
    try:
        yield
    finally:
        folder.chmod(mode)


@pytest.fixture
def plain(shell: Shell) -> PlainShell:
    """A state directory with our identity and one that this user will not be able to read."""
    for name in ("mine", "yours"):
        shell.simulate("create", name)
    return PlainShell(shell.state)


def test_an_identity_s_closed_folder_is_a_row(plain: PlainShell) -> None:
    yours = plain.state / "identities/yours"
    with closed(yours):
        answer = plain.simulate("keys", "--prove")
        mine, row = answer["files"]
        assert (mine["identity"], mine["usable"]) == ("mine", True)
        assert (row["path"], row["reason"]) == (str(yours), "Permission denied")
        assert "no_tpm" not in answer
        for arguments in (
            ("create", "inside", "--handle", "0x81000010"),
            ("persist", "mine", "0x81000011", "--yes"),
            ("evict", "0x81000011", "--yes"),
            ("session", "list"),
        ):
            plain.simulate(*arguments)
        error = plain.refuse(1, "--simulate", "request", "yours", "--subject", "CN=yours")
        assert str(yours) in error["cause"]
        found = json.loads(plain("--simulate", "doctor", "--json").stdout)["findings"]
        told = [one for one in found if one["finding"].startswith("yours: ")]
        assert {one["state"] for one in told} == {"skipped"}
        assert not any("Errno" in one["finding"] for one in found)
        assert "Traceback" not in plain("--simulate", "report").stdout


def test_closed_identities_do_not_hide_the_handles(plain: PlainShell) -> None:
    plain.simulate("create", "inside", "--handle", "0x81000010")
    with closed(plain.state / "identities"):
        answer = plain.simulate("keys")
        (row,) = answer["files"]
        assert row["reason"] == "Permission denied"
        assert [one["handle"] for one in answer["persistent"]] == ["0x81000010"]
        assert plain.refuse(1, "--simulate", "request", "mine", "--subject", "CN=a")["title"] == (
            "Identities not read"
        )


def test_a_session_that_runs_is_not_told_as_failed(plain: PlainShell) -> None:
    names = ("--subject", "CN=mine", "--role", "both", "--san", "dns:localhost")
    plain.simulate("request", "mine", *names)
    plain.simulate("demo-ca", "sign", "mine")
    plain.simulate("session", "start", "server", "mine", "--listen", "127.0.0.1:0")
    with closed(plain.state / "sessions/server-1"):
        (row,) = plain.simulate("session", "list")["sessions"]
        assert (row["id"], row["state"]) == ("server-1", "unknown")
        assert "Permission denied" in row["last_error"]["cause"]
        shown = plain("--simulate", "session", "show", "server-1")
        assert "unknown" in shown.stdout
        assert "failed" not in shown.stdout
        for action in ("stop", "reload"):
            error = plain.refuse(5, "--simulate", "session", action, "server-1")
            assert error["title"] == "Session not read"
    with closed(plain.state / "sessions"):
        assert plain.refuse(5, "--simulate", "session", "list")["title"] == "Session not read"
        plain.simulate("keys")
    plain.simulate("session", "stop", "server-1")
    wait_until(
        lambda: plain.simulate("session", "list")["sessions"][0]["state"] == "stopped",
        "it has ended",
    )
