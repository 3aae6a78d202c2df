"""The command line's grammar: its examples, its manual page and its completions."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.shell import Shell
from tools import manual

from tpmconsole.cli.main import build_parser
from tpmconsole.errors import ConsoleError

COMMANDS = {command.prog: command for command in manual.leaves(build_parser())}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_that_parses(name: str) -> None:
    command: argparse.ArgumentParser = COMMANDS[name]
    assert command.description
    assert command.epilog, f"{name} has no example"
    example = command.epilog.removeprefix("example: ").removeprefix("source <(").rstrip(")")
    program, *words = shlex.split(example)
    assert program == "tpmconsole"
    parsed = build_parser().parse_args(words)
    said = [word for word in words if not word.startswith("-")]
    assert name.split()[1:] == said[: len(name.split()) - 1], parsed


@pytest.mark.parametrize(
    "words",
    ["import gw a --check b -", "import gw --trust ca a b -", "import --check gw a b -",
     "import gw --role server a b --check -", "keys a --prove b --password-file c -"],
)  # fmt: skip
def test_files_stand_before_between_and_after_the_options(words: str) -> None:
    args = build_parser().parse_args(words.split())
    assert [str(one) for one in (args.paths if "paths" in args else args.files)] == ["a", "b", "-"]


@pytest.mark.parametrize(
    "words", ["import gw --bogus a", "session list --bogus", "status --state x"]
)
def test_what_a_command_does_not_know_leads_to_its_own_help(words: str) -> None:
    with pytest.raises(ConsoleError, match="unrecognized arguments: --") as caught:
        build_parser().parse_args(words.split())
    assert words.partition(" -")[0].startswith(str(caught.value.remedy).split()[2])
    assert str(caught.value.remedy).endswith("--help")


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="argparse words differ a little")
@pytest.mark.parametrize("path", manual.made(), ids=lambda path: path.name)
def test_the_manual_page_and_the_completions_are_fresh(path: Path) -> None:
    assert path.read_text() == manual.made()[path], "stale; run: make manual"


def test_bash_completes_our_words() -> None:
    script = manual.SHARE / "bash-completion/completions/tpmconsole"
    ask = (
        f"source {script}; COMP_WORDS=(tpmconsole session st); COMP_CWORD=2; "
        "$(complete -p tpmconsole | sed 's/.*-F \\([^ ]*\\).*/\\1/') tpmconsole st session; "
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["/bin/bash", "-c", ask], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"start", "stop"}, done.stderr


def test_the_version_names_what_it_stands_on(shell: Shell) -> None:
    first, second = shell("--version").stdout.splitlines()
    assert first.startswith("tpmconsole ")
    for name in ("Python", "OpenSSL", "textual", "tpm2-pytss", "cryptography", "psutil", "h11"):
        assert f"{name} " in second
    assert "unknown" not in second


@pytest.mark.parametrize("shell_name", ["bash", "zsh"])
def test_a_command_prints_the_completions(shell: Shell, shell_name: str) -> None:
    done = shell("completion", shell_name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tpmconsole" in done.stdout
