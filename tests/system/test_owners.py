"""Root does nothing by a file that another user could have written."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support.shell import Shell

from tpmconsole import settings as settings_module
from tpmconsole.errors import ConsoleError
from tpmconsole.logs import start_logging
from tpmconsole.settings import load_settings
from tpmconsole.system.owners import doubt_for_root

OTHER = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


def _give(path: Path) -> None:
    os.chown(path, OTHER, OTHER, follow_symlinks=False)


def _state(state: Path) -> None:
    _give(state / "a/b")


def _parent(state: Path) -> None:
    _give(state / "a")


def _settings(state: Path) -> None:
    _give(state / "a/b/tpmconsole.toml")


def _writable(state: Path) -> None:
    (state / "a/b").chmod(0o770)


def _sticky(state: Path) -> None:
    (state / "a/b").chmod(0o1777)


def _writable_parent(state: Path) -> None:
    (state / "a").chmod(0o757)


def _writable_settings(state: Path) -> None:
    (state / "a/b/tpmconsole.toml").chmod(0o666)


def _link(state: Path) -> None:
    (state / "a/b").rename(state / "a/real")
    (state / "a/b").symlink_to("real")
    _give(state / "a/b")


def _behind_a_link(state: Path) -> None:
    (state / "theirs").mkdir()
    (state / "a/b").rename(state / "theirs/real")
    (state / "a/b").symlink_to(state / "theirs/real")
    _give(state / "theirs")


@as_root
@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (_state, "chown -hR root: {}/a/b;"),
        (_parent, "chown -h root: {}/a;"),
        (_settings, "chown -h root: {}/a/b/tpmconsole.toml;"),
        (_writable, "chmod go-w {}/a/b;"),
        (_sticky, "chmod go-w {}/a/b;"),
        (_writable_parent, "chmod go-w {}/a;"),
        (_writable_settings, "chmod go-w {}/a/b/tpmconsole.toml;"),
        (_link, "chown -h root: {}/a/b;"),
        (_behind_a_link, "chown -h root: {}/theirs;"),
    ],
)
@pytest.mark.attacks("root in another user's state directory", "refused, with the remedy")
def test_root_takes_nothing_that_another_user_could_change(
    shell: Shell, spoil: Callable[[Path], None], mend: str
) -> None:
    top = shell.state
    (top / "a/b").mkdir(parents=True)
    ran = top / "ran"
    (top / "a/b/tpmconsole.toml").write_text(f'tcti = "cmd:touch {ran}"\n')
    spoil(top)
    error = Shell(top / "a/b").refuse(2, "status")
    assert error["title"] == "Not safe for root"
    command = mend.format(top)
    assert command in error["remedy"]
    assert not ran.exists()
    assert not (top / "a/b/log").exists()
    os.system(command)  # noqa: S605 - it is what the user is told to run
    assert doubt_for_root(top / "a/b/tpmconsole.toml") is None


@as_root
@pytest.mark.parametrize("tcti", ["cmd:touch RAN", " cmd:x", "pcap:swtpm", "pcap:cmd:touch RAN"])
@pytest.mark.parametrize("place", ["state", "TPMCONSOLE_TCTI", "TPM2TOOLS_TCTI", "CONFIG"])
@pytest.mark.attacks("a TCTI that starts a program, in a file", "refused")
def test_root_starts_no_program_by_hearsay(shell: Shell, tcti: str, place: str) -> None:
    tcti = tcti.replace("RAN", str(shell.state / "ran"))
    file = shell.state / ("tpmconsole.toml" if place == "state" else "other.toml")
    file.write_text(f'tcti = "{tcti}"\n')
    if place == "CONFIG":
        shell.environment["TPMCONSOLE_CONFIG"] = str(file)
    elif place != "state":
        shell.environment[place] = tcti
    error = shell.refuse(2, "status")
    assert error["title"] == "TCTI not for root"
    assert "--tcti TCTI" in error["remedy"]
    assert not (shell.state / "ran").exists()


@as_root
def test_root_may_name_a_program_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    assert load_settings(state=str(state), tcti="cmd:x", environment={}).tcti == "cmd:x"
    system = tmp_path / "etc.toml"
    system.write_text('tcti = "cmd:y"\n')
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", system)
    assert load_settings(state=str(state), environment={}).tcti == "cmd:y"
    _give(system)
    with pytest.raises(ConsoleError, match="Not safe for root"):
        load_settings(state=str(state), environment={})


@as_root
def test_what_is_not_there_yet_is_made_by_root(shell: Shell) -> None:
    done = Shell(shell.state / "new/state")("session", "list", "--json")
    assert (done.returncode, json.loads(done.stdout)["sessions"]) == (0, [])


def test_other_users_look_after_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (tmp_path / "tpmconsole.toml").write_text('tcti = "cmd:x"\n')
    tmp_path.chmod(0o777)
    assert load_settings(state=str(tmp_path), environment={}).tcti == "cmd:x"


def _log(path: Path) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        start_logging(path)
        logging.getLogger("x").warning("said")
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:], level = before
        root.setLevel(level)
        logging.captureWarnings(False)


def test_the_log_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "log" / "x.log"
    path.parent.mkdir()
    path.touch(0o644)
    _log(path)
    assert "said" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.attacks("the log is a link", "not followed")
def test_the_log_is_written_by_no_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    precious.chmod(0o644)
    (tmp_path / "x.log").symlink_to(precious)
    _log(tmp_path / "x.log")
    assert precious.read_text() == "as it was"
    assert stat.S_IMODE(precious.stat().st_mode) == 0o644


@as_root
def test_the_log_is_no_file_of_others_and_no_pipe(tmp_path: Path) -> None:
    theirs, pipe = tmp_path / "theirs", tmp_path / "pipe"
    theirs.write_text("")
    theirs.chmod(0o644)
    _give(theirs)
    os.mkfifo(pipe)
    for path in (theirs, pipe):
        _log(path)
    assert (theirs.read_text(), stat.S_IMODE(theirs.stat().st_mode)) == ("", 0o644)
