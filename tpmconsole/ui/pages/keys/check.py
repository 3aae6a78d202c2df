"""Check whether this TPM can use a key: one key with its passwords, or all keys."""

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
    """Let the TPM sign with a key; first ask for a password if it could use up an attempt.

    Args:
        persistent: the keys at the TPM's handles; its parent may be one of them.
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
    """The password that a chosen key is known to need, before any is asked for.

    The file decides, if there is one. Nothing says so for a key in the TPM, or for a parent whose
    wrong passwords count, and trying an empty password would not be harmless.
    """
    says_none = key.auth == "none" and not any(guarded_parents([key], persistent))
    return replace(NOTHING_KNOWN, try_empty=says_none)


class TryingAll:
    """A check of many keys, which can be stopped.

    Args:
        keys: the keys, in the order in which they are checked.
        persistent: the keys at the TPM's handles; parents may be among them.
        answered: called with each answer.
        done: called once at the end, with the number of checked keys.
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
        """Ask for the passwords of parents, then start."""
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
        """Stop after the key that is being checked."""
        self._progress.stop()

    def _ask(self, parent: str, found: AttemptCost) -> None:
        if found.locked or found.last:  # a check of many keys must not risk that
            self._typed(parent, None)
            return
        question = Question(
            f"Password of the parent {parent}",
            found,
            "Keys are below it; the TPM does not report whether it has a password. "
            "Esc leaves these keys out.",
            may_be_empty=True,
        )
        self._page.app.push_screen(
            PasswordDialog(question), lambda typed: self._typed(parent, typed)
        )

    def _typed(self, parent: str, typed: Password | None) -> None:
        if typed is not None:  # otherwise its keys are left out
            self._parents[parent] = typed
        self.start()

    def _run(self) -> None:
        self._job = self._page.job(self._label(), self._work, self._ended, self._failed)

    def _label(self) -> str:
        return f"checking keys, {len(self._tried)} of {len(self._keys)} (Esc stops)"

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
