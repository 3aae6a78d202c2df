"""Runs the probes one after another, each with its own deadline."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from tpmconsole.board.doctor.examination import Examination, Surroundings
from tpmconsole.errors import ConsoleError, Remedy
from tpmconsole.finding import Finding, fail, skipped, worst
from tpmconsole.text import printable

if TYPE_CHECKING:
    from tpmconsole.board import Board

log = logging.getLogger(__name__)

# What a probe finds may come from other users' processes and files.
LONGEST = 400
MOST_EVIDENCE = 40


@dataclass(frozen=True, slots=True)
class Probe:
    """One question.

    Attributes:
        name: one or two words.
        look: the function that finds the answer; may block, may raise.
        needs: if one of these probes failed, this one is skipped.
        deadline_s: seconds after which the doctor stops waiting for it.
        hangs: what it may be waiting for, to report if it does not finish.
    """

    name: str
    look: Callable[[Examination], Finding | Iterable[Finding]]
    needs: tuple[str, ...] = ()
    deadline_s: float = 2.0
    hangs: str = "a file, device or program does not answer"


def examine(
    board: Board,
    *,
    servers: Sequence[tuple[str, int]] = (),
    around: Surroundings | None = None,
    probes: Sequence[Probe],
) -> Iterator[Finding]:
    """Run every probe; each finding is yielded as soon as it is known. Never raises.

    Args:
        servers: HOST and port of servers to reach.
        around: the board's files and variables, if not the real ones.
        probes: the probes, in order.
    """
    examination = Examination(board, around or Surroundings(), tuple(servers))
    states: dict[str, str] = {}
    for probe in probes:
        needed = next((name for name in probe.needs if states.get(name) in _NO_GROUND), None)
        if needed is None:
            findings = _ask(probe, examination)
        else:
            why = "failed" if states[needed] == "fail" else "was skipped"
            findings = iter([_signed(probe, skipped(f"needs '{needed}', which {why}"))])
        seen = []
        for one in findings:
            seen.append(one)
            yield one
        states[probe.name] = worst(seen)


_NO_GROUND = ("fail", "skipped")


def _ask(probe: Probe, examination: Examination) -> Iterator[Finding]:
    """Run a probe in its own thread: if it hangs, it is left behind and reported."""
    said: SimpleQueue[Finding | None] = SimpleQueue()
    threading.Thread(
        target=_look, args=(probe, examination, said), name=f"probe {probe.name}", daemon=True
    ).start()
    until = time.monotonic() + probe.deadline_s
    while True:
        try:
            finding = said.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            log.warning("probe %s did not finish within %g s", probe.name, probe.deadline_s)
            text = f"no answer within {probe.deadline_s:g} s: {probe.hangs}"
            yield _signed(probe, fail(text, "check that first, then run the doctor again"))
            return
        if finding is None:
            return
        yield _signed(probe, finding)


def _look(probe: Probe, examination: Examination, said: SimpleQueue[Finding | None]) -> None:
    try:
        findings = probe.look(examination)
        for one in [findings] if isinstance(findings, Finding) else findings:
            said.put(one)
    except ConsoleError as error:
        said.put(fail(str(error), error.remedy))
    except Exception as error:  # a probe must not end the examination
        log.exception("probe %s", probe.name)
        said.put(fail(f"{type(error).__name__}: {error}", "see the log file"))
    finally:
        said.put(None)


def _signed(probe: Probe, finding: Finding) -> Finding:
    """The finding with the probe's name, made safe for a terminal."""
    return replace(
        finding,
        name=probe.name,
        text=printable(finding.text, LONGEST),
        evidence=tuple(printable(line, LONGEST) for line in finding.evidence[:MOST_EVIDENCE]),
        remedy=_printable(finding.remedy),
    )


def _printable(remedy: Remedy) -> Remedy:
    if isinstance(remedy, str):
        return printable(remedy, LONGEST)
    return replace(
        remedy, subject=printable(remedy.subject, LONGEST), text=printable(remedy.text, LONGEST)
    )
