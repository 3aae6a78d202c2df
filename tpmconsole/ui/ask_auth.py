"""Run actions that may need a password: ask for it when the TPM needs it, then continue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tpmconsole.board.phrases import locked_words
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.secret import Secret
from tpmconsole.tpm.auth import AttemptCost, Auth
from tpmconsole.tpm.model import KeyCheck, KeyRef
from tpmconsole.ui.dialogs.message import ConfirmDialog
from tpmconsole.ui.dialogs.password import PasswordDialog, Question
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.pages.page import Page

TITLES = {
    "key": "Password of {name}",
    "parent": "Password of the parent of {name}",
    "hierarchy": "Password of the TPM's hierarchy",
    "endorsement": "Password of the TPM's endorsement hierarchy",
    "lockout": "Lockout password of the TPM",
    "source": "Passphrase of {name}",
}
# No last attempt is spent until the user has confirmed it.
NOTHING_KNOWN = Auth(spend_last_attempt=False)


@dataclass(frozen=True, slots=True)
class Action:
    """Something done with a key.

    Attributes:
        label: for the status line while it runs.
        name: the key or the file, as the user knows it.
        work: runs in a thread with the passwords known so far. If it needs another one, it raises
            a ConsoleError or returns a KeyCheck whose ``needs`` names it.
        done: called in the event loop with the final result of ``work``.
        source: the key, to show what a wrong password would cost; runs in a thread.
        again: called when the user has read why it failed, to show the form again.
    """

    label: str
    name: str
    work: Callable[[Auth], Any]
    done: Callable[[Any], None]
    source: Callable[[], KeyRef | None] = lambda: None
    again: Callable[[], None] | None = None


def do(
    page: Page,
    action: Action,
    ask_first: str | None = None,
    known: Auth = NOTHING_KNOWN,
) -> None:
    """Run an action, asking for every missing or wrong password; Esc in a dialog cancels it.

    Args:
        ask_first: the kind of password that is known to be needed; otherwise no password is asked
            for until the TPM needs one.
        known: the passwords that were already given for this action.
    """
    doing = _Doing(page, action, known)
    if ask_first is None:
        doing.run()
    else:
        doing.ask(ask_first)


class _Doing:
    """A running action, and the passwords given for it."""

    def __init__(self, page: Page, action: Action, known: Auth) -> None:
        self._page = page
        self._action = action
        self._known = known
        self._answer: KeyCheck | None = None

    def run(self) -> None:
        """Run the action with the known passwords."""
        known = self._known
        self._page.job(
            self._action.label, lambda: self._action.work(known), self._done, self._failed
        )

    def ask(self, needs: str, why: str = "") -> None:
        """Ask for one more password, after finding out what a wrong one would cost."""
        self._page.job(
            "asking the TPM",
            lambda: self._page.board.tpm.attempt_cost(needs, self._action.source()),
            lambda found: self._show(found, why),
        )

    def _done(self, result: Any) -> None:
        if isinstance(result, KeyCheck):
            self._answer = result
            if self._asks(result.needs, result.reason):
                return
        self._action.done(result)

    def _failed(self, error: ConsoleError) -> None:
        if not self._asks(error.needs, f"{error.cause}; {say(error.remedy)}"):
            self._page.console.show_error(error, self._action.again)

    def _asks(self, needs: str | None, why: str) -> bool:
        """Ask for what is needed; False if a password would not help."""
        if needs == "consent":
            self._ask_consent(why)
        elif needs in TITLES:
            self.ask(needs, why)
        else:
            return False
        return True

    def _show(self, found: AttemptCost, why: str) -> None:
        refused = self._known.given(found.needs) is not None
        if refused:
            self._page.console.refresh_health(silent=True)  # it may have used up an attempt
        if found.locked:
            self._page.console.show_error(
                ConsoleError("TPM locked out", *locked_words(found.lockout), ExitCode.REFUSED)
            )
            return
        question = Question(
            TITLES[found.needs].format(name=self._action.name),
            found,
            why,
            refused,
            may_be_empty=found.needs in ("key", "parent"),
        )
        self._page.app.push_screen(
            PasswordDialog(question), lambda typed: self._typed(found, typed)
        )

    def _typed(self, found: AttemptCost, typed: Secret | None) -> None:
        if typed is None:
            self._give_up()
            return
        # If it was the last attempt, the dialog has asked for confirmation.
        self._known = self._known.completed(found.needs, typed, spend_last_attempt=found.last)
        self.run()

    def _ask_consent(self, why: str) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._known = replace(self._known, spend_last_attempt=True)
                self.run()
            else:
                self._give_up()

        self._page.app.push_screen(ConfirmDialog("One attempt left", why, "Send it now?"), answered)

    def _give_up(self) -> None:
        answer = self._answer
        if answer is not None:  # which is then the only known password of the key
            self._action.done(answer)
        if answer is None or answer.answer == "needs-password":
            self._page.console.say("not done: no password was given")
