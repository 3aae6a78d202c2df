"""What a probe says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found.

    Attributes:
        probe: what was looked at; the runner puts it in.
        state: ``ok``, ``warn``, ``fail`` or ``skipped``.
        finding: what was found, a sentence.
        evidence: what it was seen by, a line each: paths, versions, figures.
        remedy: what to do; empty where nothing has to be done.
    """

    probe: str
    state: str
    finding: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as ``doctor --json`` prints it."""
        return asdict(self)


def ok(finding: str, *evidence: str) -> Finding:
    """Nothing has to be done."""
    return Finding("", "ok", finding, evidence)


def warn(finding: str, remedy: str, *evidence: str) -> Finding:
    """It works, but not for everybody or not for long."""
    return Finding("", "warn", finding, evidence, remedy)


def fail(finding: str, remedy: str, *evidence: str) -> Finding:
    """It does not work."""
    return Finding("", "fail", finding, evidence, remedy)


def skipped(finding: str, remedy: str = "", *, evidence: Iterable[str] = ()) -> Finding:
    """It was not looked at, and why."""
    return Finding("", "skipped", finding, tuple(evidence), remedy)


def worst(findings: Iterable[Finding]) -> str:
    """The gravest state of all; ``skipped`` only where nothing else was said."""
    states = {one.state for one in findings}
    return next((state for state in ("fail", "warn", "ok") if state in states), "skipped")
