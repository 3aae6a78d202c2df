"""Run a kiosk: start over when it is idle, play the tour, and watch for the secret keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from textual import events

if TYPE_CHECKING:
    from textual.screen import Screen
    from textual.timer import Timer

    from tpmconsole.settings import KioskRules
    from tpmconsole.ui.main_screen import MainScreen
    from tpmconsole.ui.pages.tour import TourPage

BUSY_S = 2.0


class KioskConsole(Protocol):
    """The application, as the kiosk sees it."""

    @property
    def main(self) -> MainScreen:
        """The screen below every dialog."""

    @property
    def screen_stack(self) -> list[Screen[Any]]:
        """The screens, the current one last."""

    def set_timer(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back once, after a delay in seconds."""

    def pop_screen(self) -> object:
        """Close the current dialog."""

    def cover_if_small(self) -> None:
        """Cover the screen if the terminal is too small for it."""

    def leave(self) -> None:
        """End the console."""


class KeySequence:
    """Watches for a sequence of key presses.

    Args:
        keys: the sequence; empty for none.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = keys
        self._last: tuple[str, ...] = ()

    def pressed(self, key: str) -> bool:
        """Whether this key completes the sequence."""
        if not self._keys:
            return False
        self._last = (*self._last, key)[-len(self._keys) :]
        return self._last == self._keys


class Keeper:
    """Runs a kiosk.

    A visitor can use the console until no key was pressed for a while. Then everything is thrown
    away, and the tour plays automatically, round by round, with a pause on its cover in between. A
    page that does not change sends no bytes over the line.

    Args:
        app: the kiosk's console.
        rules: the times to wait.
    """

    def __init__(self, app: KioskConsole, rules: KioskRules) -> None:
        self._app = app
        self._rules = rules
        self._sequence = KeySequence(rules.leave)
        self._touched = time.monotonic()
        self._playing = False
        self._used = False
        self._timer: Timer | None = None

    def start(self) -> None:
        """Start to run the kiosk."""
        self._wait(self._rules.quiet_s)

    def pressed(self, event: events.Event) -> None:
        """Note that a visitor has pressed a key."""
        self._touched = time.monotonic()
        self._used = True
        if self._playing:
            self._playing = False
            self._wait(self._rules.quiet_s)
        if isinstance(event, events.Key) and self._sequence.pressed(event.key):
            self._app.leave()

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._app.set_timer(seconds, self._due)

    def _due(self) -> None:
        if self._playing:
            self._play()
            return
        left = self._touched + self._rules.quiet_s - time.monotonic()
        if left > 0:
            self._wait(left)
            return
        if self._used and self._page.busy:  # a TPM that hangs: its deadline ends the wait
            self._wait(BUSY_S)
            return
        if self._used:
            self._begin_anew()
        self._playing = self._rules.page_s > 0
        self._wait(self._rules.page_s if self._playing else self._rules.quiet_s)

    def _play(self) -> None:
        page = self._page
        if page.busy:
            self._wait(BUSY_S)
            return
        if page.at_end:
            self._begin_anew()
            self._playing = False
            self._touched = time.monotonic()
            self._wait(self._rules.quiet_s)
            return
        self._used = True
        self._uncover()  # the result of another page's job, too late for the visitor who started it
        page.skip()
        self._wait(self._rules.page_s)

    @property
    def _page(self) -> TourPage:
        from tpmconsole.ui.pages.tour import TourPage

        return self._app.main.query_one(TourPage)

    def _begin_anew(self) -> None:
        """Close every dialog, go to the first page, and throw everything away."""
        self._used = False
        self._uncover()
        self._app.main.open_first()
        self._app.main.say("")
        self._page.start_over()

    def _uncover(self) -> None:
        """Close every dialog."""
        app = self._app
        if len(app.screen_stack) > 1:
            while len(app.screen_stack) > 1:
                app.pop_screen()
            app.cover_if_small()
