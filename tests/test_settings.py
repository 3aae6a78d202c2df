"""The sources of settings, and which of them wins."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

import tpmconsole
from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.inputs import user_path
from tpmconsole.options import TABLES
from tpmconsole.settings import load_settings


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


def test_a_user_without_a_home_names_a_state_directory(homeless: None, tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="No state directory") as caught:
        load_settings(environment={})
    assert "--state" in say(caught.value.remedy)
    assert load_settings(environment={"XDG_STATE_HOME": str(tmp_path)}).state.parent == tmp_path


def test_a_home_that_is_empty_or_relative_is_the_one_of_the_passwd_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    for environment in ({"HOME": ""}, {"HOME": "here"}, {"XDG_STATE_HOME": "here"}):
        found = load_settings(environment=environment).state
        assert found == home / ".local" / "state" / "tpmconsole", environment
    given = {"XDG_STATE_HOME": "here", "HOME": "/somewhere"}
    assert load_settings(environment=given).state == Path("/somewhere/.local/state/tpmconsole")
    monkeypatch.setenv("HOME", "")
    assert user_path("~/x") == home / "x"


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ('colour = "red"', "line 1: there is no colour", "use one of tcti, simulate, line"),
        ("\n# x\nwarn_day = 3", "line 3: there is no warn_day", "write warn_days"),
        (
            '[request]\nsubjectt = "CN=x"',
            "line 2: there is no subjectt in [request]",
            "write subject",
        ),
        ("[kiosk]\nwarn_days = 3", "line 2: there is no warn_days in [kiosk]", "above the first"),
        ("quiet_s = 3", "line 1: there is no quiet_s", "write it below [kiosk]"),
        ("[kiosc]\na = 1", "line 1: there is no kiosc", "write kiosk"),
        ("kiosk.quiet = 1", "there is no quiet in [kiosk]", "write quiet_s"),
        ('warn_days = 3\nsimulate = "yes"', "line 2: simulate is 'yes'", "write true or false"),
        ("line = 3", "line 1: line is 3", "write text"),
    ],
)
def test_a_setting_that_nothing_reads_is_named(
    tmp_path: Path, text: str, place: str, remedy: str
) -> None:
    (tmp_path / "tpmconsole.toml").write_text(text)
    with pytest.raises(ConsoleError) as caught:
        load_settings(state=str(tmp_path), environment={})
    assert place in caught.value.cause
    assert remedy in say(caught.value.remedy)
    assert caught.value.exit_code is ExitCode.USAGE


def test_every_setting_is_in_the_manual() -> None:
    page = (Path(tpmconsole.__file__).parent / "share/manual/settings.md").read_text("utf-8")
    for table, names in TABLES.items():
        section = page.partition(f"## The table [{table}]" if table else "## Settings")[2]
        section = section.partition("\n## ")[0]
        for name in names:
            assert f"\n`{name}`\n: " in section, (table, name)


def test_settings_know_where_they_came_from(tmp_path: Path) -> None:
    file = tmp_path / "tpmconsole.toml"
    file.write_text('warn_days = 3\nline = "fast"\ntcti = "device:/a"\n[request]\nrole = "both"\n')
    found = load_settings(state=str(tmp_path), line="serial", environment={}).sources
    assert found == {
        "state": "--state",
        "warn_days": str(file),
        "tcti": str(file),
        "request.role": str(file),
        "line": "--line",
    }
    found = load_settings(
        environment={"TPMCONSOLE_STATE": str(tmp_path), "TPM2TOOLS_TCTI": "device:/b"}
    ).sources
    assert (found["state"], found["tcti"]) == ("TPMCONSOLE_STATE", "TPM2TOOLS_TCTI")
