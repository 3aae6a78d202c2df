"""Key files of tpm2-tools: their flag about a password may say the opposite of what is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.shell import QuickShell
from support.swtpm import SwtpmAlone
from support.tools import KeyMaker, needs_tools

from tpmconsole.tpm.keyfile import inspect

pytestmark = needs_tools


class Bench:
    """A command line and other people's tools on one TPM."""

    def __init__(self, swtpm: SwtpmAlone, state: Path, folder: Path) -> None:
        self.shell = QuickShell(state)
        self.tools = KeyMaker(swtpm.connection, folder)
        self._tpm = ("--tcti", swtpm.connection.tcti)

    def __call__(self, *arguments: str) -> tuple[int, Any]:
        """Run a command; its exit code and its JSON."""
        done = self.shell(*self._tpm, *arguments, "--json")
        assert "Traceback" not in done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout)

    def text(self, *arguments: str) -> str:
        """What a command prints for people."""
        return self.shell(*self._tpm, *arguments).stdout

    @property
    def used(self) -> int:
        """The lock-out counter."""
        return int(self("status")[1]["lockout"]["failed_tries"])


@pytest.fixture
def bench(alone: SwtpmAlone, state: Path, tmp_path: Path) -> Bench:
    return Bench(alone, state, tmp_path)


def test_many_keys_whose_files_say_that_they_have_no_password_cost_no_attempt(
    bench: Bench,
) -> None:
    folder = bench.tools.four_inverted()
    found = inspect(folder / "a.pem")
    assert (found.auth, found.counts_towards_lockout) == ("none", True)
    code, answer = bench("keys", str(folder), "--prove")
    assert code == 0
    assert [one["usable"] for one in answer["files"]] == [None] * 4
    assert all("may have a password" in one["reason"] for one in answer["files"])
    assert bench.used == 0
    # Named all at once, they are many as well.
    bench("keys", *(str(folder / f"{name}.pem") for name in "abcd"), "--prove", "--last-try")
    assert bench.used == 0


def test_one_key_alone_is_tried_but_never_as_the_last_attempt(bench: Bench) -> None:
    file = str(bench.tools.four_inverted() / "a.pem")
    for used in (1, 2):
        code, answer = bench("keys", file, "--prove")
        (found,) = answer["files"]
        assert (code, found["usable"], bench.used) == (1, None, used)
        assert "though its file says that it has none" in found["reason"]
        assert "counted the try" in found["reason"]
    for more in ((), ("--last-try",)):
        code, answer = bench("keys", file, "--prove", *more)
        assert (code, bench.used) == (1, 2)
        assert "only one try is left" in answer["files"][0]["reason"]
    assert not bench("status")[1]["lockout"]["locked"]
