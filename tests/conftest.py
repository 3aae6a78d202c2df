"""Fixtures that every room's tests share."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import table
from support.shell import Shell
from support.swtpm import SwtpmAlone
from support.waiting import assert_nothing_left

from tpmconsole.settings import Settings
from tpmconsole.tpm.simulator import Simulator

# What each file took when it was measured, in seconds. Begun last, a long one would run on alone.
DURATIONS = Path(__file__).parents[1] / ".ci" / "durations.json"
_taken: dict[str, float] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--measure", action="store_true", help="write what each file takes to .ci/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; those of which nothing is known follow as they are."""
    known = _durations()
    items.sort(key=lambda item: -known.get(_file(item.nodeid), 0.0))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    name = _file(report.nodeid)
    _taken[name] = _taken.get(name, 0.0) + report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep what was measured, where that is wanted; files that did not run keep what they had."""
    if session.config.getoption("--measure") and not hasattr(session.config, "workerinput"):
        whole = {name: round(took) for name, took in (_durations() | _taken).items()}
        there = {
            name: took
            for name, took in whole.items()
            if took and (DURATIONS.parents[1] / name).exists()
        }
        longest = dict(sorted(there.items(), key=lambda one: (-one[1], one[0])))
        DURATIONS.write_text(json.dumps(longest, indent=1) + "\n")


def _durations() -> dict[str, float]:
    found: dict[str, float] = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
    return found


def _file(test: str) -> str:
    return test.partition("::")[0]


@contextmanager
def _short_folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets; at the end nothing in it may run."""
    folder = Path(tempfile.mkdtemp(prefix="tc-", dir="/tmp"))
    try:
        yield folder
        assert_nothing_left(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def state() -> Iterator[Path]:
    """A new state directory; its simulator is stopped at the end, and nothing else may run."""
    with _short_folder() as folder:
        yield folder
        Simulator(folder / "simulator").stop()


@pytest.fixture
def settings(state: Path) -> Callable[..., Settings]:
    """Makes Settings for the test's state directory: ``settings(simulate=True)``."""

    def make(**changes: Any) -> Settings:
        return Settings(**{"state": state, **changes})

    return make


@pytest.fixture
def simulator(state: Path) -> Simulator:
    """A simulator of the test's own, not started: the one of ``settings(simulate=True)``."""
    return Simulator(state / "simulator")


@pytest.fixture
def shell(state: Path) -> Shell:
    """Runs commands on the test's state directory."""
    return Shell(state)


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[Simulator]:
    """A running simulator for all tests that leave its TPM as they found it."""
    with _short_folder() as folder:
        shared = Simulator(folder / "simulator")
        shared.ensure()
        try:
            yield shared
        finally:
            shared.stop()


@pytest.fixture
def alone() -> Iterator[SwtpmAlone]:
    """A running swtpm of the test's own, without a resource manager."""
    folder = Path(tempfile.mkdtemp(prefix="tc-", dir="/tmp"))
    swtpm = SwtpmAlone(folder)
    swtpm.start()
    yield swtpm
    swtpm.kill()
    shutil.rmtree(folder)


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes what was seen, for the table; the test's mark has the rest: see ``support.table``."""
    for name, (_, _, notes) in request.node.user_properties:
        if name in table.KINDS:
            note: Callable[[str], None] = notes.append
            return note
    raise AssertionError("a test that notes what it saw has a mark of faults, attacks or lies")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a test that breaks or attacks something its row."""
    for kind in table.KINDS:
        mark = item.get_closest_marker(kind)
        if mark is not None and mark.args:
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            item.user_properties.append(table.row_of(mark, parameters, []))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """``make faults``, ``make attacks`` and ``make attest`` end with a table."""
    table.write_tables(terminalreporter)


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME who is not in /etc/passwd."""
    monkeypatch.delenv("HOME")
    for name in ("getuid", "geteuid"):
        monkeypatch.setattr(os, name, lambda: 2_000_000_000)
