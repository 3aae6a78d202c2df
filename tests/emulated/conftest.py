"""One board for all tests of a release; BOARD_RELEASE names it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulated.__main__ import prepared
from emulated.technician import Technician


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Report at once what failed on the board: its tests take minutes."""
    if report.failed and "board" in report.keywords:
        print(f"\n{report.longreprtext}", flush=True)


@pytest.fixture(scope="session")
def release() -> str:
    """``trixie`` or ``bookworm``."""
    return os.environ.get("BOARD_RELEASE", "trixie")


@pytest.fixture(scope="session")
def technician(release: str) -> Iterator[Technician]:
    """A technician who is logged in on the serial line of a new board."""
    disk = prepared(release)
    with tempfile.TemporaryDirectory(prefix="board-") as folder:
        one = Technician(disk, Path(folder))
        try:
            one.switch_on()
            yield one
        finally:
            one.machine.switch_off()


@pytest.fixture(autouse=True)
def prompt(request: pytest.FixtureRequest) -> None:
    """Begin each test at the prompt: a failed test may have left its console open."""
    if request.node.get_closest_marker("board") is None:
        return
    technician: Technician = request.getfixturevalue("technician")
    if not technician.at_the_prompt():
        technician.hang_up()


@pytest.fixture(scope="session")
def figures(technician: Technician) -> Iterator[dict[str, str]]:
    """The measured figures by name: kept for the rows of ``make bench``, and printed."""
    folder = technician.machine.disk.folder
    path = folder / "figures.json"
    # Figures that this run does not measure, as it is only a part of all tests, are kept.
    rows: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    on_disk = json.loads((folder / "megabytes.json").read_text())
    rows |= {name: f"{megabytes} MB" for name, megabytes in on_disk.items()}
    yield rows
    path.write_text(json.dumps(rows, indent=1))
    print(f"\n{path}: {path.read_text()}")
