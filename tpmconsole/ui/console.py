"""What a page, a dialog and the main screen may do with the application: no more than this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from pathlib import Path

    from textual.dom import DOMNode

    from tpmconsole.board import Board
    from tpmconsole.board.tour import Tour
    from tpmconsole.errors import ConsoleError
    from tpmconsole.tpm.model import TpmHealth
    from tpmconsole.ui.background import Job, Jobs
    from tpmconsole.ui.rows import Fact, Heading


class Console(Protocol):
    """The application, as its parts know it.

    Attributes:
        board: what it works on.
        jobs: what runs in the background.
        health: what the TPM said last; None where it has not, or does not answer any more.
        no_tpm: why it does not answer.
        last_folder: where the last file was that somebody chose; None before the first.
    """

    board: Board
    jobs: Jobs
    health: TpmHealth | None
    no_tpm: ConsoleError | None
    last_folder: Path | None

    @property
    def tour(self) -> Tour:
        """The guided tour."""

    def in_front(self, page: DOMNode) -> bool:
        """Whether a page is the one that is open, below dialogs or not."""

    def uncovered(self) -> bool:
        """Whether no dialog is open."""

    def say(self, message: str, *, bad: bool = False) -> None:
        """Put a message into the status line."""

    def show_keys(self) -> None:
        """Show the keys that do something now."""

    def jobs_changed(self) -> None:
        """A job has started, ended or changed its label."""

    def let_pass(self, rest: str) -> None:
        """Ignore these letters if they come at once: the rest of a word such as ``yes``."""

    def obey(self, key: str) -> bool:
        """Do what a key means now; returns whether it means anything."""

    def start_job(self, job: Job) -> None:
        """Run a job in a thread and show it in the status line."""

    def show_error(self, error: ConsoleError, then: Callable[[], None] | None = None) -> None:
        """A failure that the user has to know, in a dialog.

        Args:
            then: called when it has been read.
        """

    def show_text(self, title: str, text: str, facts: Sequence[Fact | Heading] = ()) -> None:
        """A longer text, below facts where there are any, in a dialog."""

    def refresh_health(self, *, silent: bool = False) -> None:
        """Ask the TPM how it is; the pages hear of it when the answer has come.

        Args:
            silent: nobody is waiting for it.
        """

    def take_health(self, health: TpmHealth) -> None:
        """Show the TPM's state, which another job may have read on its way."""

    def start_session(self, identity: str, roles: Sequence[str]) -> None:
        """Go to page 4, with its form for a session of an identity.

        Args:
            roles: those that its certificate allows.
        """

    def leave(self) -> None:
        """End the console."""


def console_of(node: DOMNode) -> Console:
    """The application that a widget or a screen is part of; there is one."""
    return cast(Console, node.app)
