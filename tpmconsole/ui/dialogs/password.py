"""The dialog that asks for a password: of a key, of the TPM or of a file."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Label, Static

from tpmconsole.board.phrases import last_try_words, try_words
from tpmconsole.errors import ConsoleError
from tpmconsole.secret import Secret
from tpmconsole.tpm.auth import AttemptCost, check_password
from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.widgets.password_input import Unseen

_NOTHING_TYPED = "Nothing typed: Enter once more sends an empty password."
_MAY_BE_EMPTY = "If there is none, press Enter twice."
_NEEDED = "Type it, or press Esc."


@dataclass(frozen=True, slots=True)
class Question:
    """The password to ask for.

    Attributes:
        title: says which password it is.
        guard: what a wrong password would cost.
        why: why it is needed, or why the last one was refused.
        refused: whether the last one was refused.
        may_be_empty: whether an empty password may be right.
    """

    title: str
    guard: AttemptCost
    why: str = ""
    refused: bool = False
    may_be_empty: bool = False


class PasswordDialog(Dialog[Secret]):
    """Asks for a password and returns it, or None if the user has cancelled.

    Before the last attempt that the lock-out allows, the user must confirm it.
    """

    help_key = "f1"

    def __init__(self, question: Question) -> None:
        super().__init__(question.title)
        self.question = question
        self._asked_again = False
        self._empty_once = False

    def keys(self) -> tuple[tuple[str, str], ...]:
        if self._asked_again:
            return (("y", "Send it"), ("n", "Do not"))
        return (("enter", "Done"), ("escape", "Cancel"))

    def body(self) -> ComposeResult:
        one = self.question
        if one.why:
            yield Static(Content.styled(one.why, "bold $error" if one.refused else ""))
        yield Static(Content.styled(try_words(one.guard), "$warning"))
        yield Static("")
        with Horizontal(classes="form-row"):
            yield Label("Password  ")
            yield Unseen()
        yield Static(_MAY_BE_EMPTY if one.may_be_empty else "", classes="form-hint")

    def on_mount(self) -> None:
        self.query_one(Unseen).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._empty_once = False

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        typed = Secret(event.value.encode())
        if not typed and not self.question.may_be_empty:
            self._hint(_NEEDED)
        elif not typed and not self._empty_once:
            self._empty_once = True
            self._hint(_NOTHING_TYPED)
        elif self._fits(typed):
            if self.question.guard.last:
                self._ask_again()
            else:
                self.dismiss(typed)

    def pressed(self, event: events.Key) -> None:
        if self._asked_again and event.key in ("y", "n"):
            event.stop()
            sent = event.key == "y"
            self.dismiss(Secret(self.query_one(Unseen).value.encode()) if sent else None)

    def _fits(self, typed: Secret) -> bool:
        if self.question.guard.needs == "source":  # not for the TPM, which limits its passwords
            return True
        try:
            check_password(typed)
        except ConsoleError as error:
            self._hint(f"{error.cause}; {say(error.remedy)}")
            return False
        return True

    def _ask_again(self) -> None:
        self._asked_again = True
        self.query_one(Unseen).disabled = True
        self._hint(last_try_words(self.question.guard.lockout))
        self.show_key_line()

    def _hint(self, text: str) -> None:
        self.query_one(".form-hint", Static).update(Content.styled(text, "bold $error"))
