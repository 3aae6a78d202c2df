"""Changes that need a yes: what would be done, what is lost by it, and how it is done.

Both front ends ask through this one type, and so name the same losses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import KeyRef

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Plan(Generic[Result]):
    """A change that destroys something, or that cannot be undone.

    Attributes:
        title: what would be done, as a few words that start with a verb ("Evict 0x81000010").
        losses: what is lost or changed by it, a line each, without a full stop.
        question: what is asked.
        label: what is being done, while it runs ("removing the key").
        subject: the name of what is changed, as the user knows it.
        apply: does it with the authorisations known so far; called at most once for each answer.
        refusal: what has not happened without a yes ("Not removed").
        needs: whose password is known to be needed, as in ``ConsoleError``.
        key: the key whose password may be asked for.
    """

    title: str
    losses: tuple[str, ...]
    question: str
    label: str
    subject: str
    apply: Callable[[Auth], Result]
    refusal: str
    needs: str | None = None
    key: KeyRef | None = None
