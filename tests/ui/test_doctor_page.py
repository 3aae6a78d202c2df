"""Page 5 by keyboard: probes as they finish, problems, evidence, repair, report."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.technician import console

from tpmconsole.board.doctor import runner
from tpmconsole.board.doctor.examination import Examination
from tpmconsole.finding import Finding, fail, ok, warn
from tpmconsole.settings import Settings

Make = Callable[..., Settings]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def open_to_all(path: Path) -> None:
    path.chmod(0o755)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Three probes, the second of which waits for the event."""
    go = threading.Event()

    def second(_: Examination) -> Finding:
        go.wait(30)
        return fail("second has failed", "fix it", "seen at once", "and seen again")

    probes = (
        runner.Probe("first", lambda _: ok("first is well", "by its looks")),
        runner.Probe("second", second, deadline_s=60),
        runner.Probe("third", lambda _: warn("third is odd", "look at it")),
    )
    monkeypatch.setattr("tpmconsole.board.doctor.probes.PROBES", probes)
    return go


async def test_probes_are_shown_as_they_finish(settings: Make, slow: threading.Event) -> None:
    async with console(settings(tcti="device:/nowhere")) as technician:
        await technician.press("5")
        await technician.sees("first is well")
        await technician.sees("examining the board")
        assert "second" not in technician.screen()
        slow.set()
        await technician.sees("fail 1, warn 1: n goes to the next")
        assert "third is odd" in technician.screen()


async def test_the_next_trouble_and_its_evidence(settings: Make, slow: threading.Event) -> None:
    slow.set()
    async with console(settings(tcti="device:/nowhere")) as technician:
        await technician.press("5")
        await technician.sees("n goes to the next")
        await technician.sees("by its looks")
        await technician.press("n")
        await technician.sees("Try         fix it")
        assert "and seen again" not in technician.screen()
        await technician.press("enter")
        await technician.sees("and seen again")
        await technician.press("escape", "n")
        await technician.sees("look at it")
        await technician.press("n")
        await technician.sees("fix it")


async def test_modes_are_repaired_after_a_yes(settings: Make, state: Path) -> None:
    open_to_all(state)
    async with console(settings(tcti="device:/nowhere")) as technician:
        await technician.press("5")
        await technician.sees("n goes to the next")
        await technician.press("m")
        await technician.sees(f"{state}: 0755, should be 0700")
        await technician.press("n")
        await technician.idle()
        assert mode(state) == 0o755
        await technician.press("m")
        await technician.sees("should be 0700")
        await technician.press("y")
        await technician.until(lambda: mode(state) == 0o700, "repaired")
        await technician.idle()
    assert '"action": "repair modes"' in (state / "audit.jsonl").read_text()


async def test_the_report_is_one_private_file(settings: Make, state: Path) -> None:
    report = state / "report.txt"
    async with console(settings(tcti="device:/nowhere")) as technician:
        await technician.press("5")
        await technician.sees("n goes to the next")
        await technician.press("w")
        await technician.sees("Write the report")
        await technician.press("t", "ctrl+u")
        await technician.type(str(report))
        await technician.press("enter")
        await technician.until(report.exists, "the report")
        await technician.idle()
    assert mode(report) == 0o600
    assert "== certificates" in report.read_text()
