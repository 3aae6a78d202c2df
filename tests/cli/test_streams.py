"""Standard streams that are closed or full, and locales that cannot show everything."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.shell import QuickShell, Shell

from tpmconsole.board import Board
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.cli.main import build_parser
from tpmconsole.errors import ExitCode
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm
from tpmconsole.x509.request_spec import RequestSpec

INPUT, OUTPUT, ERRORS = 0, 1, 2
BROKEN = [
    {"closed": INPUT},
    {"closed": OUTPUT},
    {"full": OUTPUT},
    {"closed": ERRORS},
    {"full": ERRORS},
]
# Every command with what it needs, on a board that has nothing and no TPM.
ARGUMENTS = {
    "create": "x",
    "persist": "x 0x81000010 --yes",
    "evict": "0x81000010 --yes",
    "forget": "x --yes",
    "request": "x --subject CN=x",
    "import": "x -",
    "renew": "x",
    "trust": "x",
    "demo-ca sign": "x",
    "lockout reset": "--yes",
    "session start client": "x --connect localhost:1",
    "session start server": "x --listen localhost:1",
    "session show": "client-1",
    "session stop": "client-1",
    "session restart": "client-1",
    "session reload": "client-1",
    "session events": "client-1",
    "session install": "client-1 --dry-run",
    "simulator start": "--help",
    "tour": "--help",
    "completion": "bash",
    "json-schema": "session list",
    "install kiosk": "--dry-run --tty tty1 --user visitor",
    "install serial-console": "--dry-run --tty ttyS0",
}


def commands(parser: argparse.ArgumentParser, words: str = "") -> Iterator[str]:
    """Every command of a parser, with its sub-commands."""
    below = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not below or not below[0].required:
        yield words.strip()
    for one in below:
        for name, inner in one.choices.items():
            yield from commands(inner, f"{words} {name}")


@pytest.fixture(scope="module")
def named() -> Iterator[Path]:
    """A state directory with a request whose name is not ASCII."""
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as folder:
        board = Board(Settings(state=Path(folder), simulate=True))
        try:
            create_key(board, "gateway", Algorithm.EC_P256)
            make_request(board, "gateway", RequestSpec("CN=\U0001f600", ("dns:x",), "both"))
            yield Path(folder)
        finally:
            board.close(leave=True)
            board.simulator.stop()


COMMANDS = [one for one in commands(build_parser()) if one]


@pytest.mark.parametrize("command", [*COMMANDS, "--help", "--version"])
def test_no_stream_changes_what_a_command_says_of_itself(tmp_path: Path, command: str) -> None:
    """A broken output costs the answer and never more; the other streams cost nothing."""
    shell = QuickShell(tmp_path / "state")
    tcti = () if command.startswith("-") else ("--tcti", "device:/nowhere")
    line = [*tcti, *command.split(), *ARGUMENTS.get(command, "").split()]
    usual = shell(*line)
    assert usual.returncode != ExitCode.UNEXPECTED, usual.stderr
    answers = bool(usual.stdout)
    for broken in BROKEN:
        done = shell.without(*line, **broken)
        assert "Traceback" not in done.stdout + done.stderr
        if OUTPUT in broken.values() and answers:
            assert done.returncode == ExitCode.UNEXPECTED, broken
            assert "Answer not written: standard output: " in done.stderr
        else:
            assert done.returncode == usual.returncode, broken


def test_the_table_knows_no_command_that_there_is_not() -> None:
    assert set(ARGUMENTS) <= set(COMMANDS)


@pytest.mark.parametrize("broken", BROKEN, ids=str)
@pytest.mark.parametrize("answer", ["", "--json"])
def test_what_was_made_is_made_whatever_the_streams(
    state: Path, broken: dict[str, int], answer: str
) -> None:
    shell = QuickShell(state)
    done = shell.without("--simulate", "create", "gateway", *answer.split(), **broken)
    assert shell.identities() == ["gateway"]
    if OUTPUT in broken.values():
        assert done.returncode == ExitCode.UNEXPECTED
        assert "the change itself was made" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert "gateway" in done.stdout


@pytest.mark.parametrize("stream", ["closed", "full"])
def test_an_error_in_json_that_cannot_be_written_is_said_in_words(
    tmp_path: Path, stream: str
) -> None:
    shell = QuickShell(tmp_path)
    done = shell.without("trust", "nobody", "--json", **{stream: OUTPUT})
    assert done.returncode == ExitCode.NO
    assert done.stderr.startswith("tpmconsole: Unknown identity: ")


def test_python_started_without_streams(tmp_path: Path) -> None:
    """As old service managers start programs: none of our files may get these numbers."""
    line = f"{sys.executable} -m tpmconsole --state {tmp_path}/s session list"
    for closed, code in (("<&- 2>&-", 0), ("<&- >&- 2>&-", 5), (">/dev/full", 5)):
        done = subprocess.run(
            ["/bin/sh", "-c", f"{line} {closed}"], capture_output=True, check=False, timeout=60
        )
        assert done.returncode == code, closed
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C"},
        {"PYTHONIOENCODING": "iso-8859-1"},
        {"PYTHONIOENCODING": "shift-jis"},
    ],
    ids=str,
)
def test_a_name_that_the_locale_cannot_show_is_shown_in_ascii(
    named: Path, locale: dict[str, str]
) -> None:
    shell = Shell(named)
    shell.environment |= locale
    done = shell("--simulate", "demo-ca", "sign", "gateway")
    assert (done.returncode, done.stderr) == (0, "")
    shown = "\U0001f600" if locale == {"LC_ALL": "C"} else r"\U0001f600"
    assert f"'CN={shown}' belongs to this key" in done.stdout
