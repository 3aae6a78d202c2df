"""One line about something that was looked at: a check, a probe, or a step of the tour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tpmconsole.errors import Remedy


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    Attributes:
        name: what was looked at; scripts and tests rely on the names of checks and probes.
        state: ``ok``, ``warn``, ``fail`` or ``skipped``; in the tour any word, or none. A
            check that fails keeps a certificate from being installed, a warning does not.
        text: what was found, one sentence.
        remedy: what to do about it; empty where nothing has to be done.
        evidence: what it was seen by, a line each: paths, versions, figures.
    """

    name: str
    state: str = ""
    text: str = ""
    remedy: Remedy = ""
    evidence: tuple[str, ...] = ()


def ok(text: str, *evidence: str, name: str = "") -> Finding:
    """Nothing has to be done."""
    return Finding(name, "ok", text, evidence=evidence)


def warn(text: str, remedy: Remedy, *evidence: str, name: str = "") -> Finding:
    """It works here, but not for everybody or not for long."""
    return Finding(name, "warn", text, remedy, evidence)


def fail(text: str, remedy: Remedy, *evidence: str, name: str = "") -> Finding:
    """It does not work."""
    return Finding(name, "fail", text, remedy, evidence)


def skipped(text: str, remedy: Remedy = "", *, evidence: Iterable[str] = ()) -> Finding:
    """It was not looked at, and why."""
    return Finding("", "skipped", text, remedy, tuple(evidence))


def worst(findings: Iterable[Finding]) -> str:
    """The gravest state of all; ``skipped`` only where nothing else was said."""
    states = {finding.state for finding in findings}
    return next((state for state in ("fail", "warn", "ok") if state in states), "skipped")
