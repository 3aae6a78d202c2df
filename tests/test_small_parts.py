"""Settings, inputs, audit and redaction: what holds without a TPM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tpmconsole.board import audit
from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.inputs import parse_address, parse_number, user_path
from tpmconsole.logs import redact
from tpmconsole.settings import load_settings
from tpmconsole.system.disks import Disks
from tpmconsole.ui.dialogs.files import place_rows


def test_flags_beat_the_environment_and_both_beat_the_file(tmp_path: Path) -> None:
    (tmp_path / "tpmconsole.toml").write_text('simulate = true\ntcti = "device:/dev/file"\n')
    state = str(tmp_path)
    assert load_settings(state=state, environment={}).simulate
    asked = load_settings(state=state, environment={"TPM2TOOLS_TCTI": "device:/dev/env"})
    assert (asked.tcti, asked.simulate) == ("device:/dev/env", False)
    named = load_settings(
        state=state, tcti="device:/dev/flag", environment={"TPMCONSOLE_TCTI": "x"}
    )
    assert (named.tcti, named.tcti_source, named.simulate) == ("device:/dev/flag", "--tcti", False)


def test_a_damaged_settings_file_is_wrong_usage_and_named(tmp_path: Path) -> None:
    (tmp_path / "tpmconsole.toml").write_text("simulate = ")
    with pytest.raises(ConsoleError, match=r"tpmconsole\.toml") as caught:
        load_settings(state=str(tmp_path), environment={})
    assert caught.value.exit_code is ExitCode.USAGE


def test_nobodys_home_is_wrong_usage() -> None:
    with pytest.raises(ConsoleError, match="No such user") as caught:
        load_settings(state="~nobody-of-that-name/x", environment={})
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME who is not in /etc/passwd."""
    monkeypatch.delenv("HOME")
    for name in ("getuid", "geteuid"):
        monkeypatch.setattr(os, name, lambda: 2_000_000_000)


def test_a_user_without_a_home_names_a_state_directory(homeless: None, tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="No state directory") as caught:
        load_settings(environment={})
    assert "--state" in say(caught.value.remedy)
    assert load_settings(environment={"XDG_STATE_HOME": str(tmp_path)}).state.parent == tmp_path
    assert [row.name for row in place_rows(Disks())][1:] == ["/tmp/", "/"]


def test_nothing_that_fails_before_there_is_a_log_prints_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"rmdir {tmp_path}/gone; exec {sys.executable} -m tpmconsole --state x status"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=tmp_path / "gone",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.UNEXPECTED
    assert done.stderr.count("\n") == 2, done.stderr
    assert done.stderr.startswith("tpmconsole: The system refused: No such file")


@pytest.mark.parametrize(
    "text",
    [
        *("x", "x:", ":1", "x:65536", "x:²", "x:" + "9" * 5000, "x:-1", ""),
        *("a..b:1", ".local:1", "x" * 64 + ".local:1"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConsoleError):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("gateway.local:8443") == ("gateway.local", 8443)
    assert parse_address("[::1]:0") == ("::1", 0)
    assert parse_address("gateway.local.:1") == ("gateway.local.", 1)


@pytest.mark.parametrize("text", ["", "²", "1.5", "-1", "9" * 5000])
def test_what_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize("text", ["", "~nobody-of-that-name/x", "a\0b"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ConsoleError):
        user_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2",
        "password=b'hunter2'",
        'passphrase: "hunter2 of two"',
        "{'password': 'hunter2 b'}",
        "-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----",
    ],
)
def test_secrets_are_taken_out(text: str) -> None:
    assert "hunter2" not in redact(text)


def test_the_record_names_the_true_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "mallory")
    audit.record(tmp_path / "audit.jsonl", "create", identity="gateway")
    line = json.loads((tmp_path / "audit.jsonl").read_text())
    assert line["user"] != "mallory"
    assert (line["action"], line["identity"]) == ("create", "gateway")
