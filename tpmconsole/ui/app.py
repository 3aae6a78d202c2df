"""The application: one board, its jobs and its screens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from textual import events
from textual.theme import BUILTIN_THEMES

from tpmconsole.board import Board
from tpmconsole.errors import ConsoleError
from tpmconsole.settings import KioskRules
from tpmconsole.system.terminal import USUAL, is_too_small
from tpmconsole.ui.background import Job, JobFinished, JobNews, Jobs
from tpmconsole.ui.dialogs.message import ErrorDialog, TextDialog
from tpmconsole.ui.dialogs.too_small import TooSmall
from tpmconsole.ui.kiosk import Keeper
from tpmconsole.ui.main_screen import MainScreen
from tpmconsole.ui.rows import Fact, Heading
from tpmconsole.ui.terminal.crash import QuietCrash
from tpmconsole.ui.terminal.driver import line_driver
from tpmconsole.ui.terminal.profile import LineProfile

if TYPE_CHECKING:
    from pathlib import Path

    from textual.dom import DOMNode
    from textual.geometry import Size

    from tpmconsole.board.tour import Tour
    from tpmconsole.tpm.model import TpmHealth
    from tpmconsole.ui.console import Console
    from tpmconsole.ui.copying import Copy
    from tpmconsole.ui.kiosk import KioskConsole

log = logging.getLogger(__name__)

# Sixteen colours by name; each terminal chooses its own shades for them.
SERIAL = replace(
    BUILTIN_THEMES["ansi-dark"], name="console-serial", accent="ansi_cyan", primary="ansi_cyan"
)
# Medium shades, which are readable on dark and on light.
FAST = replace(
    SERIAL,
    name="console-fast",
    primary="#3d94c9",
    accent="#3d94c9",
    success="#5a9e3f",
    warning="#c08a1e",
    error="#d0473e",
)

FEW_COLOURS = 16
# After a silent refresh the TPM rests for at most this many times the refresh's duration.
REST, LONGEST_REST_S = 4, 30.0
REST_OF_WORD_S = 1.5


class ConsoleApp(QuietCrash):
    """The console.

    Args:
        board: what it works on.
        profile: the terminal line; None (in tests and for pictures) means a serial line with
            Textual's own driver.
        tour: a kiosk's tour, which plays on the board itself; otherwise made when first needed.
    """

    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False

    async def action_quit(self) -> None:
        """Disabled: Textual's own key for this is ^Q, which serial flow control uses (XON)."""

    def action_help_quit(self) -> None:
        """Disabled as well: Textual's message names Ctrl+Q, which this console does not use."""

    def __init__(
        self, board: Board, profile: LineProfile | None = None, tour: Tour | None = None
    ) -> None:
        super().__init__(driver_class=line_driver(profile) if profile else None)
        fast = profile is not None and profile.colours > FEW_COLOURS
        for theme in (SERIAL, FAST):
            self.register_theme(theme)
        self.theme = (FAST if fast else SERIAL).name
        self.set_class(profile is not None and not profile.ascii, "unicode")
        self.set_class(fast, "fast")
        self.board = board
        self.log_path = board.settings.log
        self.jobs = Jobs(self, board.settings.log)
        self.health: TpmHealth | None = None
        self.no_tpm: ConsoleError | None = None
        self.last_folder: Path | None = None
        self._asking = 0
        self._rest, self._rest_until = "", 0.0
        self._asked = self._not_before = 0.0
        self._tour = tour
        kiosk = board.settings.kiosk
        self._keeper = Keeper(self, KioskRules.of(board.settings.options)) if kiosk else None

    @property
    def tour(self) -> Tour:
        """The guided tour."""
        if self._tour is None:
            from tpmconsole.board.tour import Tour

            self._tour = Tour.beside(self.board.settings)
        return self._tour

    def end_tour(self) -> None:
        """Remove everything that the tour made, after the screen is gone."""
        if self._tour is not None:
            self._tour.close()

    def on_mount(self) -> None:
        if self._keeper is not None:
            self._keeper.start()

    async def on_event(self, event: events.Event) -> None:
        """See every event before anything else handles it."""
        typed = isinstance(event, events.InputEvent | events.Paste)
        if self._keeper is not None and typed and not event.is_forwarded:
            self._keeper.pressed(event)
        if typed and not event.is_forwarded and self._passes(event):
            return
        await super().on_event(event)

    def get_default_screen(self) -> MainScreen:
        return MainScreen()

    @property
    def main(self) -> MainScreen:
        """The screen below every dialog."""
        screen = self.screen_stack[0]
        assert isinstance(screen, MainScreen)  # noqa: S101  (the default screen, never popped)
        return screen

    def in_front(self, page: DOMNode) -> bool:
        """Whether a page is the open one, even if dialogs cover it."""
        return self.main.page is page

    def uncovered(self) -> bool:
        """Whether no dialog is open."""
        return self.screen is self.main

    def say(self, message: str, *, bad: bool = False) -> None:
        """Show a message in the status line."""
        self.main.say(message, bad=bad)

    def show_keys(self) -> None:
        """Show the keys that can be used now."""
        self.main.show_keys()

    def jobs_changed(self) -> None:
        """Update the screen after a job has started, ended or changed its label."""
        self.main.jobs_changed()

    def let_pass(self, rest: str) -> None:
        """Ignore these letters if they follow immediately: the rest of a word such as ``yes``."""
        self._rest, self._rest_until = rest, time.monotonic() + REST_OF_WORD_S

    def _passes(self, event: events.Event) -> bool:
        if not (self._rest and isinstance(event, events.Key)):
            return False
        expected = event.key == self._rest[0] and time.monotonic() < self._rest_until
        self._rest = self._rest[1:] if expected else ""
        return expected

    def obey(self, key: str) -> bool:
        """Run the command that a key has now; returns whether it has one."""
        return self.main.obey(key)

    def start_job(self, job: Job) -> None:
        """Run a job in a thread and show it in the status line."""
        self.jobs.start(job)
        self.main.jobs_changed()

    def on_job_news(self, message: JobNews) -> None:
        if self.screen_stack and self.main.whole and not message.progress.stopped:
            message.progress.heard(message.news)

    def on_job_finished(self, message: JobFinished) -> None:
        job = message.job
        self.jobs.finish(job)
        if not self.screen_stack or not self.main.whole:
            return  # the console is closing: its parts are being removed
        self.main.jobs_changed()
        if message.error is None:
            if job.done:
                job.done(message.result)
        elif job.failed:
            job.failed(message.error)
        elif job.label:
            self.show_error(message.error)
        else:  # the user did not ask for a silent refresh, so no dialog
            self.main.say(str(message.error), bad=True)
        self.main.show_keys()

    def show_error(self, error: ConsoleError, then: Callable[[], None] | None = None) -> None:
        """Show an error that the user must know in a dialog, and its title in the status line.

        Args:
            then: called when the user has closed the dialog.
        """
        self.main.say(error.title, bad=True)
        self.push_screen(ErrorDialog(error), lambda _: then() if then else None)

    def show_text(self, title: str, text: str, facts: Sequence[Fact | Heading] = ()) -> None:
        """Show a longer text in a dialog, below facts if there are any."""
        self.push_screen(TextDialog(title, text, facts))

    def open_help(self, facts: Sequence[Fact | Heading]) -> None:
        """Show what keys do; from there, the manual, which a kiosk does not offer."""
        from tpmconsole.ui.dialogs.manual import HelpDialog

        kind = TextDialog if self.board.settings.kiosk else HelpDialog
        dialog = kind("Help", "", facts)
        dialog.has_help = False
        self.push_screen(dialog)

    def copy(self, copies: Sequence[Copy], say: Callable[[str], None]) -> None:
        """Copy the only text, or let the user choose one of several."""
        from tpmconsole.ui.dialogs.copy import copy_one_of

        copy_one_of(self, copies, say)

    def refresh_health(self, *, silent: bool = False) -> None:
        """Ask the TPM for its state; the pages are updated when it has answered.

        Args:
            silent: no user waits for it: not shown in the status line, and not asked if an answer
                is still pending.
        """
        if silent and (self._asking or time.monotonic() < self._not_before):
            return
        if self._asking > 1:  # another refresh is already queued, and will get the newest state
            return
        self._asking += 1
        self._asked = time.monotonic()
        # The user waits for it only the first time, and after a failure.
        label = "" if silent or self.health else "asking the TPM"
        # No screen shows the PCRs.
        ask = partial(self.board.status, brief=True)
        self.start_job(Job(label, ask, self._healthy, self._unreachable))

    def _healthy(self, health: Any) -> None:
        self._asking -= 1
        # Keep a slow chip free for what the user wants from it.
        now = time.monotonic()
        self._not_before = now + min(REST * (now - self._asked), LONGEST_REST_S)
        if self.no_tpm:
            self.main.say("the TPM answers")
        if self.health is None and not self.board.settings.kiosk:
            self.start_job(Job("", self.board.root_note, self._note))
        self.take_health(health)

    def take_health(self, health: TpmHealth) -> None:
        """Show the TPM's state, which another job may have read as well."""
        self.health, self.no_tpm = health, None
        self.main.health_changed()

    def _note(self, note: Any) -> None:
        if note:
            self.main.say(note)

    def _unreachable(self, error: ConsoleError) -> None:
        self._asking -= 1
        self.health, self.no_tpm = None, error
        self.main.say(str(error), bad=True)
        self.main.health_changed()

    def on_resize(self, event: events.Resize) -> None:
        """Cover the screen while the terminal is too small; omit empty rows if it is low."""
        self.set_class(event.size.height < USUAL[1], "low")
        self.cover_if_small(event.size)

    def cover_if_small(self, size: Size | None = None) -> None:
        """Cover the screen if the terminal is too small for it."""
        size = size or self.size
        small = is_too_small(size.width, size.height)
        if small and not any(isinstance(one, TooSmall) for one in self.screen_stack):
            self.push_screen(TooSmall())

    def start_session(self, identity: str, roles: Sequence[str]) -> None:
        """Go to page 4, with its form for a session of an identity.

        Args:
            roles: those that its certificate allows.
        """

        async def ask() -> None:
            from tpmconsole.ui.pages.sessions.page import SessionsPage

            page = await self.main.open_titled("Sessions")
            if isinstance(page, SessionsPage):
                page.start_with(identity, roles)

        self.call_later(ask)

    def leave(self) -> None:
        """End the console."""
        self.exit(0)


if TYPE_CHECKING:

    def _as_its_parts_know_it(app: ConsoleApp) -> tuple[Console, KioskConsole]:
        return app, app
