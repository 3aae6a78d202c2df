"""A chip that does not have a command costs what that command tells, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import proxy
from faults.proxy import Fault, PassOn, Proxy, answer, code_of
from support.shell import QuickShell
from support.swtpm import SwtpmAlone

MISSING, DISABLED, VALUE = 0x143, 0x120, 0x2C4  # of parameter 2
READ_CLOCK, PCR_READ, INCREMENTAL_SELF_TEST = 0x181, 0x17E, 0x142
ALGORITHMS, PCRS, CURVES = 0, 5, 8  # TPM_CAP, TPM 2.0 Part 2, 6.12


class Board:
    """The command line and a TPM whose answers may be spoiled."""

    def __init__(self, state: Path, between: Proxy) -> None:
        self._shell = QuickShell(state)
        self.proxy = between

    def __call__(self, *arguments: str) -> tuple[int, Any]:
        done = self._shell("--tcti", self.proxy.tcti, *arguments, "--json")
        assert "Traceback" not in done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout)

    def status(self) -> dict[str, Any]:
        """The fields of ``status`` that stay as they are."""
        code, told = self("status")
        assert code == 0, told
        if told["clock"]:
            told["clock"] = told["clock"]["reset_count"]
        return dict(told)

    def lines(self) -> dict[str, str]:
        """What ``status`` prints, by the first word of each line."""
        done = self._shell("--tcti", self.proxy.tcti, "status")
        assert done.returncode == 0, done.stderr
        return {line.split()[0]: line for line in done.stdout.splitlines()}


@pytest.fixture
def board(alone: SwtpmAlone, state: Path) -> Iterator[Board]:
    made = Proxy(alone.folder / "between", alone.folder / "sock")
    yield Board(state, made)
    made.close()


def without_capability(number: int) -> Fault:
    """A chip that knows nothing of a capability."""

    def fault(command: bytes, pass_on: PassOn) -> bytes:
        asked = code_of(command) == proxy.GET_CAPABILITY and command[10:14] == bytes(
            (0, 0, 0, number)
        )
        return answer(VALUE) if asked else pass_on(command)

    return fault


@pytest.mark.parametrize("code", [MISSING, DISABLED])
@pytest.mark.parametrize(
    ("command", "field", "line"),
    [(READ_CLOCK, "clock", "Resets"), (PCR_READ, "pcrs", "PCR")],
    ids=["clock", "pcrs"],
)
def test_a_missing_command_costs_its_line(
    board: Board, code: int, command: int, field: str, line: str
) -> None:
    whole = board.status()
    words = board.lines()
    board.proxy.spoil(proxy.answering(code, command))
    told = board.status()
    assert not told.pop(field)
    assert told == {name: value for name, value in whole.items() if name != field}
    kept = board.lines()
    assert {name for name in words if kept.get(name) != words[name]} == {line}


@pytest.mark.parametrize(
    ("capability", "field"), [(ALGORITHMS, "algorithms"), (PCRS, "pcrs"), (CURVES, "curves")]
)
def test_a_missing_capability_costs_its_line(board: Board, capability: int, field: str) -> None:
    whole = board.status()
    board.proxy.spoil(without_capability(capability))
    told = board.status()
    assert told.pop(field) in ([], {})
    assert told == {name: value for name, value in whole.items() if name != field}


def test_a_chip_that_does_not_tell_its_test_result(board: Board) -> None:
    board.proxy.spoil(proxy.answering(MISSING, proxy.GET_TEST_RESULT))
    status, told = board("status")
    assert (status, told["self_test"]["result"], told["mode"]) == (0, "unknown", "operational")
    assert "NOT TOLD" in board.lines()["Self-test"]
    probe = next(one for one in board("doctor")[1]["findings"] if one["probe"] == "self-test")
    assert probe["state"] == "skipped"
    # A test that succeeds says so itself.
    status, tested = board("selftest")
    assert (status, tested["result"]) == (0, "passed")


def test_a_chip_without_a_kind_of_test_says_so(board: Board) -> None:
    board.proxy.spoil(proxy.answering(MISSING, INCREMENTAL_SELF_TEST))
    status, told = board("selftest", "--incremental")
    assert (status, told["error"]["title"]) == (4, "Not supported")
    assert board("selftest")[0] == 0
    board.proxy.spoil(proxy.answering(MISSING, READ_CLOCK))
    status, told = board("selftest")
    assert (status, told["result"]) == (0, "passed")
