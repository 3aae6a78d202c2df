"""The main screen: bars around the pages, and the lookup of every key press."""

from __future__ import annotations

import gc
import socket
from functools import partial

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import ContentSwitcher

from tpmconsole.board.phrases import chip_words
from tpmconsole.system.files import refused, tidy
from tpmconsole.ui.background import Job
from tpmconsole.ui.command import Command, find, key_name
from tpmconsole.ui.console import Console, console_of
from tpmconsole.ui.dialogs.message import ConfirmDialog
from tpmconsole.ui.pages.names import PAGES, TOUR
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.preload import AFTER_S, import_ahead
from tpmconsole.ui.rows import Fact, Heading
from tpmconsole.ui.terminal.driver import repaint
from tpmconsole.ui.widgets.bars import KeyBar, PageBar, StatusBar, TitleBar


class MainScreen(Screen[None]):
    """Title line, page line, the page, status line, key line."""

    AUTO_FOCUS = None

    def __init__(self) -> None:
        super().__init__()
        self._current = 0
        self._message = ("", False)
        self._ticker: Timer | None = None

    @property
    def console(self) -> Console:
        return console_of(self)

    @property
    def whole(self) -> bool:
        """Whether it has all its bars: only after it is mounted and until it closes."""
        return all(self.query(bar) for bar in (TitleBar, PageBar, StatusBar, KeyBar))

    @property
    def page(self) -> Page:
        """The current page."""
        return self.query_one(f"#page-{self._current}", Page)

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield PageBar()
        self._current = self._first
        with ContentSwitcher(id="pages", initial=f"page-{self._first}"):
            yield PAGES[self._first].make(self._first)
        yield StatusBar()
        yield KeyBar()

    def on_mount(self) -> None:
        self._ticker = self.set_interval(1.0, self._show_status, pause=True)
        self._show_title()
        self._show_pages()
        self.page.opened()
        self._focus_page()
        self.show_keys()
        self.console.start_job(Job("", partial(tidy, self.console.board.settings)))
        self.set_timer(AFTER_S, lambda: self.console.start_job(Job("", import_ahead)))
        self.call_after_refresh(gc.enable)  # it was off since the start: see tpmconsole.__main__

    def on_resize(self) -> None:
        self._show_title()
        self.show_keys()

    # Pages

    async def open_page(self, index: int) -> None:
        """Show a page; it is created when it is first opened."""
        if not await self.make_page(index):
            return
        if index != self._current:
            self.say("")  # the message was about another page and its keys
        self._current = index
        self.query_one("#pages", ContentSwitcher).current = f"page-{index}"
        self._show_pages()
        self._focus_page()
        self.page.opened()
        self.show_keys()

    async def make_page(self, index: int) -> bool:
        """Make a page that is not there yet; returns whether it is there."""
        if not self.query(f"#page-{index}"):
            try:
                page = PAGES[index].make(index)
            except OSError as error:  # no file descriptor is left to load its module
                self.console.show_error(refused(error, f"opening {PAGES[index].title}"))
                return False
            page.display = False  # until it is opened
            await self.query_one("#pages", ContentSwitcher).mount(page)
        return True

    @property
    def _first(self) -> int:
        return TOUR if self.console.board.settings.kiosk else 0

    def open_first(self) -> None:
        """Go back to the page that the console opened with."""
        self._open_later(self._first)

    async def open_titled(self, title: str) -> Page:
        """Bring a page to the front by its name; returns it."""
        await self.open_page([page.title for page in PAGES].index(title))
        return self.page

    def _open_later(self, index: int) -> None:
        self.call_later(self.open_page, index)

    def _focus_page(self) -> None:
        # Hiding the focused widget drops the focus; without one the next arrow key would be lost.
        target = self.page.focus_target()
        self.set_focus(target if target is not None else self.page)

    # Bars

    def say(self, message: str, *, bad: bool = False) -> None:
        """Put a message into the status line."""
        self._message = (message, bad)
        self._show_status()

    def jobs_changed(self) -> None:
        """A job has started or ended."""
        if self._ticker is not None:
            # Without input, only a running job may send bytes.
            if self.console.jobs.visible:
                self._ticker.resume()
            else:
                self._ticker.pause()
        self._show_status()

    def health_changed(self) -> None:
        """Update after the TPM has answered, or has failed to."""
        self._show_title()
        for page in self.query(Page):
            page.health_changed()
        self.show_keys()

    def show_keys(self) -> None:
        """Show the keys that can be used now."""
        self.query_one(KeyBar).present(self._of_page(), self.commands())

    def _show_status(self) -> None:
        job = self.console.jobs.visible
        message, bad = self._message
        self.query_one(StatusBar).present(
            job.label if job else None, job.since if job else 0.0, message, bad
        )

    def _show_title(self) -> None:
        health, gone = self.console.health, self.console.no_tpm
        chip, mark = "", ""
        if health:
            chip = chip_words(health)
            mark = "SIMULATED" if health.simulated else ""
        elif gone:
            mark = "NO TPM"
        self.query_one(TitleBar).present(socket.gethostname(), chip, mark)

    def _show_pages(self) -> None:
        self.query_one(PageBar).present([page.title for page in PAGES], self._current)

    # Keys

    def commands(self) -> tuple[Command, ...]:
        """The commands of every page."""
        return self._for_whom(self._everywhere())

    def _everywhere(self) -> tuple[Command, ...]:
        pages = tuple(
            Command(
                str(index + 1),
                "",
                f"{page.title}: {page.about}",
                partial(self._open_later, index),
                aliases=(f"f{index + 1}",),
                kiosk=True,
            )
            for index, page in enumerate(PAGES)
        )
        return (
            *pages,
            Command(
                "colon",
                "",
                "find a command of any page by words (on a fast line, also ^P)",
                self._open_palette,
                aliases=self._palette_aliases(),
            ),
            Command(
                "y",
                "",
                "copy what is under the cursor to your terminal's clipboard (OSC 52)",
                lambda: self.console.copy(self.page.copies(), self.say),
                lambda: bool(self.page.copies()),
            ),
            Command("question_mark", "Help", "what the keys do", self.show_help, kiosk=True),
            Command("space", "", "scroll the pane below a list", self._turn, kiosk=True),
            Command("ctrl+l", "", "redraw the screen", self.repaint, kiosk=True),
            Command("f10", "", "leave the console", self.ask_to_leave),
            Command(
                "q",
                "Quit",
                "leave the console; sessions keep running",
                self.ask_to_leave,
                aliases=("ctrl+c",),
            ),
        )

    def _of_page(self) -> tuple[Command, ...]:
        return self.commands_of(self._current)

    def commands_of(self, index: int) -> tuple[Command, ...]:
        """What a page can do, and its list; while a filter is typed, only what ends that."""
        page = self.query_one(f"#page-{index}", Page)
        own, shown = page.commands(), page.list
        if shown is not None:
            own = shown.commands() if shown.typing else (*own, *shown.commands())
        return self._for_whom(own)

    def _for_whom(self, commands: tuple[Command, ...]) -> tuple[Command, ...]:
        """All commands; for a visitor only those meant for visitors."""
        kiosk = self.console.board.settings.kiosk
        return tuple(one for one in commands if one.kiosk or not kiosk)

    def on_key(self, event: events.Key) -> None:
        if self.obey(event.key):
            event.stop()
            event.prevent_default()

    def obey(self, key: str) -> bool:
        """Run the command that a key has now; returns whether it has one."""
        own = self._of_page()
        command = find((*own, *self.commands()), key)
        if command is None:
            return False
        if command in own:
            self.say("")  # the message was about the previous command
        try:
            command.run()
        except OSError as error:  # no file descriptor is left to load a dialog's module
            self.console.show_error(refused(error, f"trying to {command.help}"))
        return True

    def _turn(self) -> None:
        self.page.turn()

    def _palette_aliases(self) -> tuple[str, ...]:
        """Ctrl-P too on a fast line; programs at the end of a serial one take it for themselves."""
        return ("ctrl+p",) if self.app.has_class("fast") else ()

    def _open_palette(self) -> None:
        from tpmconsole.ui.dialogs.palette import open_palette

        self.call_later(open_palette, self.app, self)

    def repaint(self) -> None:
        """Redraw everything: another program wrote to the terminal."""
        repaint(self.app)

    def ask_to_leave(self) -> None:
        """Leave the console; if a job is running, only after a confirmation."""
        job = self.console.jobs.visible
        if job is None:
            self.console.leave()
            return
        self.app.push_screen(
            ConfirmDialog("Leave", f"{job.label} is still running", "Stop it and leave?"),
            lambda yes: self.console.leave() if yes else None,
        )

    def show_help(self) -> None:
        """Show the keys of this page and of every page; from there, the manual."""
        name = PAGES[self._current]
        facts: list[Fact | Heading] = [
            Heading(f"{name.title}: {name.about}"),
            *(Fact(_keys_of(one), "", one.help) for one in self._of_page()),
            Heading("Everywhere"),
            *(Fact(_keys_of(one), "", one.help) for one in self.commands()),
        ]
        self.console.open_help(facts)


def _keys_of(command: Command) -> str:
    return " ".join(key_name(key) for key in command.keys)
