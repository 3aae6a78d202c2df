"""No probe can end an examination: not by raising, not by hanging, not by what it says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tpmconsole.board import Board
from tpmconsole.board.doctor import Finding, examine
from tpmconsole.board.doctor.examination import Examination
from tpmconsole.board.doctor.network import together
from tpmconsole.board.doctor.probes import PROBES
from tpmconsole.board.doctor.runner import LONGEST, Probe
from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError
from tpmconsole.finding import ok, warn
from tpmconsole.settings import Settings


@pytest.fixture
def ask(settings: Callable[..., Settings]) -> Callable[..., Iterator[Finding]]:
    """Ask questions of one's own."""
    board = Board(settings())
    return lambda *probes: examine(board, probes=probes)


Ask = Callable[..., Iterator[Finding]]


def well(_: Examination) -> Finding:
    return ok("well")


def test_what_goes_wrong_in_a_probe_is_its_finding(ask: Ask) -> None:
    def refuses(_: Examination) -> Finding:
        raise ConsoleError("Title", "cause", "remedy")

    def crashes(_: Examination) -> Finding:
        raise KeyError("nobody foresaw it")

    def half(_: Examination) -> Iterator[Finding]:
        yield ok("first")
        raise OSError(5, "Input/output error")

    found = list(ask(Probe("a", refuses), Probe("b", crashes), Probe("c", half), Probe("d", well)))
    assert [(one.name, one.state) for one in found] == [
        *(("a", "fail"), ("b", "fail"), ("c", "ok"), ("c", "fail"), ("d", "ok"))
    ]
    assert (found[0].text, found[0].remedy) == ("Title: cause", "remedy")
    assert "nobody foresaw it" in found[1].text
    assert all(one.remedy for one in found if one.state == "fail")


def test_a_probe_that_hangs_is_told_as_such_and_left_behind(ask: Ask) -> None:
    never = threading.Event()

    def hangs(_: Examination) -> Iterator[Finding]:
        yield warn("so far", "so good")
        never.wait()

    probes = (
        Probe("stuck", hangs, deadline_s=0.05, hangs="the disk does not answer"),
        Probe("needy", well, needs=("stuck",)),
        Probe("after", well),
    )
    first, stuck, needy, after = ask(*probes)
    assert first.text == "so far"
    assert (stuck.state, stuck.text) == (
        "fail",
        "no answer within 0.05 s: the disk does not answer",
    )
    assert (needy.state, needy.text) == ("skipped", "needs 'stuck', which failed")
    assert after.state == "ok"
    never.set()


def test_skipping_is_passed_on(ask: Ask) -> None:
    def fails(_: Examination) -> Finding:
        raise ConsoleError("Broken", "it is", "repair it")

    found = list(
        ask(Probe("a", fails), Probe("b", well, needs=("a",)), Probe("c", well, needs=("b",)))
    )
    assert [one.state for one in found] == ["fail", "skipped", "skipped"]
    assert found[2].text == "needs 'b', which was skipped"


def test_findings_come_as_soon_as_they_are_there(ask: Ask) -> None:
    begun = threading.Event()

    def second(_: Examination) -> Finding:
        begun.set()
        return ok("second")

    answers = ask(Probe("first", well), Probe("second", second))
    assert next(answers).name == "first"
    assert not begun.is_set()
    assert next(answers).text == "second"


def test_what_is_seen_is_fit_for_a_terminal(ask: Ask) -> None:
    def hostile(_: Examination) -> Finding:
        return warn("\x1b[2J\u202egnp.exe" + "x" * 10_000_000, "\r\n\x07", *["\x9b31m"] * 1000)

    (found,) = ask(Probe("hostile", hostile))
    texts = (found.text, say(found.remedy), *found.evidence)
    assert all(text.isprintable() for text in texts)
    assert len(found.text) < 2 * LONGEST
    assert len(found.evidence) < 100


def test_several_things_at_once_and_one_that_never_ends() -> None:
    never = threading.Event()

    def fails() -> str:
        raise OSError("no")

    good, bad, stuck = together([lambda: "yes", fails, lambda: str(never.wait())], 0.1)
    assert good == "yes"
    assert isinstance(bad, OSError)
    assert stuck is None
    never.set()


def test_every_probe_needs_only_what_comes_before_it() -> None:
    seen: set[str] = set()
    for probe in PROBES:
        assert set(probe.needs) <= seen
        assert probe.name not in seen
        assert len(probe.name) <= 12
        seen.add(probe.name)
