"""Fixtures that every room's tests share."""

from __future__ import annotations

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

# The files that take longest, the longest first: begun last, one of them would run on alone.
LONGEST = (
    "cli/test_auth.py",
    "terminal/test_console.py",
    "cli/test_identities.py",
    "cli/test_keys.py",
    "ui/test_provision.py",
    "cli/test_main.py",
    "terminal/test_app.py",
    "session/test_lifecycle.py",
    "ui/test_pages.py",
    "session/test_trouble.py",
    "ui/test_ask_auth.py",
    "ui/test_passwords.py",
    "test_hostile.py",
    "test_secrets.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the others stay in their order."""
    here = Path(__file__).parent
    rank = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


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
    raise AssertionError("a test that notes what it saw has a mark of faults or attacks")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a test that breaks or attacks something its row."""
    for kind in table.KINDS:
        mark = item.get_closest_marker(kind)
        if mark is not None and mark.args:
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            item.user_properties.append(table.row_of(mark, parameters, []))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """``make faults`` and ``make attacks`` end with a table."""
    table.write_tables(terminalreporter)


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME who is not in /etc/passwd."""
    monkeypatch.delenv("HOME")
    for name in ("getuid", "geteuid"):
        monkeypatch.setattr(os, name, lambda: 2_000_000_000)
