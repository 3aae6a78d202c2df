"""The interface of the application for pages, dialogs and the main screen: only this."""

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
    from tpmconsole.ui.copying import Copy
    from tpmconsole.ui.rows import Fact, Heading


class Console(Protocol):
    """The application, as its parts see it.

    Attributes:
        board: what it works on.
        jobs: what runs in the background.
        health: the TPM's last answer; None before the first, or if it no longer answers.
        no_tpm: why the TPM does not answer.
        last_folder: the folder of the last file that was chosen; None before the first.
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
        """Whether a page is the open one, even if dialogs cover it."""

    def uncovered(self) -> bool:
        """Whether no dialog is open."""

    def say(self, message: str, *, bad: bool = False) -> None:
        """Show a message in the status line."""

    def show_keys(self) -> None:
        """Show the keys that can be used now."""

    def jobs_changed(self) -> None:
        """Update the screen after a job has started, ended or changed its label."""

    def let_pass(self, rest: str) -> None:
        """Ignore these letters if they follow immediately: the rest of a word such as ``yes``."""

    def obey(self, key: str) -> bool:
        """Run the command that a key has now; returns whether it has one."""

    def start_job(self, job: Job) -> None:
        """Run a job in a thread and show it in the status line."""

    def show_error(self, error: ConsoleError, then: Callable[[], None] | None = None) -> None:
        """Show an error that the user must know in a dialog.

        Args:
            then: called when the user has closed the dialog.
        """

    def show_text(self, title: str, text: str, facts: Sequence[Fact | Heading] = ()) -> None:
        """Show a longer text in a dialog, below facts if there are any."""

    def open_help(self, facts: Sequence[Fact | Heading]) -> None:
        """Show what keys do; from there, the manual, which a kiosk does not offer."""

    def copy(self, copies: Sequence[Copy], say: Callable[[str], None]) -> None:
        """Copy the only text, or let the user choose one of several.

        Args:
            say: receives a short text that names what was copied.
        """

    def refresh_health(self, *, silent: bool = False) -> None:
        """Ask the TPM for its state; the pages are updated when it has answered.

        Args:
            silent: no user waits for it.
        """

    def take_health(self, health: TpmHealth) -> None:
        """Show the TPM's state, which another job may have read as well."""

    def start_session(self, identity: str, roles: Sequence[str]) -> None:
        """Go to page 4, with its form for a session of an identity.

        Args:
            roles: those that its certificate allows.
        """

    def leave(self) -> None:
        """End the console."""


def console_of(node: DOMNode) -> Console:
    """The application that a widget or a screen belongs to."""
    return cast(Console, node.app)
