"""Whether this TPM can use a key: one, with the passwords it takes, or all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tpmconsole.board.check_keys import check_all, guarded_parents, key_ref
from tpmconsole.board.parents import check_with_parent, name_parents
from tpmconsole.errors import ConsoleError
from tpmconsole.secret import Password
from tpmconsole.tpm.auth import AttemptCost, Auth
from tpmconsole.tpm.model import KeyCheck, KeyFile, PersistentKey
from tpmconsole.ui.ask_auth import NOTHING_KNOWN, Action, do
from tpmconsole.ui.background import Job, Progress
from tpmconsole.ui.dialogs.password import PasswordDialog, Question
from tpmconsole.ui.pages.keys.details import title
from tpmconsole.ui.pages.page import Page

if TYPE_CHECKING:
    Key = KeyFile | PersistentKey

Answered = Callable[["Key", KeyCheck], None]


def try_one(page: Page, key: Key, persistent: Sequence[PersistentKey], answered: Answered) -> None:
    """Let the TPM sign with a key, after asking for a password where an attempt would be spent.

    Args:
        persistent: the keys at the TPM's handles, among them perhaps its parent.
    """
    action = Action(
        "letting the TPM sign",
        title(key),
        lambda passwords: check_with_parent(page.board, key, passwords),
        lambda answer: answered(key, answer),
        source=lambda: key_ref(key),
    )
    do(page, action, known=known_of(key, persistent))


def known_of(key: Key, persistent: Sequence[PersistentKey]) -> Auth:
    """What is known to use one key that was asked for, before a password is.

    What the file says decides; of a key in the TPM, and of a parent that counts, nothing says it,
    and an empty password is no harmless way to find out.
    """
    says_none = key.auth == "none" and not any(guarded_parents([key], persistent))
    return replace(NOTHING_KNOWN, try_empty=says_none)


class TryingAll:
    """One round over many keys, which can be stopped.

    Args:
        keys: in the order in which they are tried.
        persistent: the keys at the TPM's handles, among them perhaps parents.
        answered: gets each answer.
        done: called once at the end, with how many were tried.
    """

    def __init__(
        self,
        page: Page,
        keys: Sequence[Key],
        persistent: Sequence[PersistentKey],
        answered: Answered,
        done: Callable[[int], None],
    ) -> None:
        self._page = page
        self._keys = keys
        self._answered = answered
        self._done = done
        self._to_ask = list(guarded_parents(keys, persistent))
        self._parents: dict[str, Password] = {}
        self._tried: set[int] = set()
        self._job: Job | None = None
        self._progress = Progress(page.app, self._heard)

    @property
    def running(self) -> bool:
        """Whether the TPM is being asked."""
        return self._job is not None

    def start(self) -> None:
        """Ask for the passwords of parents, then begin."""
        if not self._to_ask:
            self._run()
            return
        key = self._to_ask.pop(0)
        self._page.job(
            "asking the TPM",
            lambda: self._page.board.tpm.attempt_cost("parent", key_ref(key)),
            lambda found: self._ask(str(key.parent), found),
        )

    def stop(self) -> None:
        """End after the key that is being tried."""
        self._progress.stop()

    def _ask(self, parent: str, found: AttemptCost) -> None:
        if found.locked or found.last:  # a round over many keys is no reason to risk that
            self._typed(parent, None)
            return
        question = Question(
            f"Password of the parent {parent}",
            found,
            "Keys are below it, and the TPM does not tell whether it has a password. "
            "Esc leaves these keys out.",
            may_be_empty=True,
        )
        self._page.app.push_screen(
            PasswordDialog(question), lambda typed: self._typed(parent, typed)
        )

    def _typed(self, parent: str, typed: Password | None) -> None:
        if typed is not None:  # else its keys are left out
            self._parents[parent] = typed
        self.start()

    def _run(self) -> None:
        self._job = self._page.job(self._label(), self._work, self._ended, self._failed)

    def _label(self) -> str:
        return f"trying keys, {len(self._tried)} of {len(self._keys)} (Esc stops)"

    def _work(self) -> None:
        answers = []
        for answer in check_all(self._page.board, self._keys, self._parents.get):
            answers.append(answer)
            self._progress.tell(answer)
            if self._progress.stopped:
                return
        for before, after in zip(answers, name_parents(self._page.board, answers), strict=True):
            if after != before:
                self._progress.tell(after)

    def _heard(self, news: Any) -> None:
        key, answer = news
        self._tried.add(id(key))
        if self._job is not None:
            self._job.label = self._label()
        self._answered(key, answer)
        self._page.console.jobs_changed()

    def _failed(self, error: ConsoleError) -> None:
        self._job = None
        self._page.console.show_error(error)

    def _ended(self, _: Any) -> None:
        self._job = None
        self._done(len(self._tried))
