"""One answer about a certificate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found.

    Attributes:
        check: the check's name; scripts and tests rely on it (``key-match``, ``chain``, …).
        verdict: ``fail`` keeps the certificate from being installed, ``warn`` does not.
        text: what was found, one sentence.
        remedy: what to do about it, starting with a verb; empty where nothing needs doing.
    """

    check: str
    verdict: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """The fields of ``import --json``."""
        return asdict(self)


def ok(check: str, text: str) -> Verdict:
    """Nothing speaks against it."""
    return Verdict(check, "ok", text)


def warn(check: str, text: str, remedy: str) -> Verdict:
    """It works here, but not for everybody or not for long."""
    return Verdict(check, "warn", text, remedy)


def fail(check: str, text: str, remedy: str) -> Verdict:
    """It would not work."""
    return Verdict(check, "fail", text, remedy)
