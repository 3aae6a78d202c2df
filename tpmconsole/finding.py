"""The result of looking at one thing: a check, a probe, or a step of the tour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tpmconsole.errors import Remedy


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    Attributes:
        name: what was examined; scripts and tests rely on the names of checks and probes.
        state: ``ok``, ``warn``, ``fail`` or ``skipped``; in the tour any word, or empty. A check
            that fails stops the import of a certificate, a warning does not.
        text: what was found, one sentence.
        remedy: what to do about it; empty if there is nothing to do.
        evidence: the facts behind it, one per line: paths, versions, figures.
    """

    name: str
    state: str = ""
    text: str = ""
    remedy: Remedy = ""
    evidence: tuple[str, ...] = ()


def ok(text: str, *evidence: str, name: str = "") -> Finding:
    """There is nothing to do."""
    return Finding(name, "ok", text, evidence=evidence)


def warn(text: str, remedy: Remedy, *evidence: str, name: str = "") -> Finding:
    """It works here, but not for everyone or not for long."""
    return Finding(name, "warn", text, remedy, evidence)


def fail(text: str, remedy: Remedy, *evidence: str, name: str = "") -> Finding:
    """It does not work."""
    return Finding(name, "fail", text, remedy, evidence)


def skipped(text: str, remedy: Remedy = "", *, evidence: Iterable[str] = ()) -> Finding:
    """It was not examined; the text says why."""
    return Finding("", "skipped", text, remedy, tuple(evidence))


def worst(findings: Iterable[Finding]) -> str:
    """The most serious state of all; ``skipped`` only if there is no other."""
    states = {finding.state for finding in findings}
    return next((state for state in ("fail", "warn", "ok") if state in states), "skipped")
