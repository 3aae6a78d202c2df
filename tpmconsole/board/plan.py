"""A change that the user must confirm: its title, its losses, and its function.

Both front ends ask the same question with the same losses: ``cli.common.confirm`` needs ``--yes``,
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
    """A change that the user must confirm.

    Attributes:
        title: what would be done, a few words ("Evict 0x81000010").
        losses: what is or may be lost by it, a line each.
        question: the question that the user confirms ("Remove it from the TPM?").
        doing: the same while it is being done, for a status line ("removing the key").
        apply: does it with the known passwords; may raise a ConsoleError whose ``needs``
            says which one is missing.
        subject: the name of the key, identity or session, as the user knows it.
        needs: the kind of password that is known to be needed; None if no password is.
        key: the key for which a wrong password might count towards the lock-out; may block.
        not_done: the title of the error without a confirmation ("Key not removed").
        instead: what to do instead of confirming; empty for nothing.
        refused: the exit code of a command that was not confirmed.
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
