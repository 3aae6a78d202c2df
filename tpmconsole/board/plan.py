"""A change that needs a yes: what it is, what is lost, and how it is done.

Both front ends ask the same question with the same losses: ``cli.common.confirm`` wants ``--yes``,
``ui.confirm.confirm`` shows a dialog.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from tpmconsole.errors import ExitCode, Remedy

if TYPE_CHECKING:
    from tpmconsole.tpm.auth import Auth
    from tpmconsole.tpm.model import KeyRef

Result = TypeVar("Result")


def _no_key() -> KeyRef | None:
    return None


@dataclass(frozen=True, slots=True)
class Plan(Generic[Result]):
    """A change that needs a yes.

    Attributes:
        title: what would be done, a few words ("Evict 0x81000010").
        losses: what is lost by it or at stake, a line each.
        question: the question that a yes answers ("Remove it from the TPM?").
        doing: the same while it is done, for a status line ("removing the key").
        apply: does it, with the passwords that are known; may raise a ConsoleError whose ``needs``
            says which one is missing.
        subject: the key, identity or session, as its user knows it.
        needs: whose password is known to be needed; None for nobody's.
        key: whose wrong password might count towards the lock-out; may block.
        not_done: the title of the error where no yes was given ("Not removed").
        instead: what to do rather than say yes; empty for nothing.
        refused: how a command ends that got no yes.
    """

    title: str
    losses: tuple[str, ...]
    question: str
    doing: str
    apply: Callable[[Auth], Result]
    subject: str = ""
    needs: str | None = None
    key: Callable[[], KeyRef | None] = _no_key
    not_done: str = "Not done"
    instead: Remedy = ""
    refused: ExitCode = ExitCode.USAGE
