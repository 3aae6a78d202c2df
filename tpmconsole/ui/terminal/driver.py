"""A driver for Textual on a line that is slow or noisy.

Give it to an app; nothing else in the app needs to change::

    profile = current("auto")                     # before Textual is imported
    prepare_environment(profile)
    app = MyApp(driver_class=line_driver(profile))
    app.run(mouse=profile.mouse)
    sys.exit(app.return_code or 0)

An app binds `repaint` to a key (``ctrl+l``). The driver ends the app on SIGHUP, SIGTERM, SIGINT
and when the line hangs up, with 128 plus the number of the signal as return code.

Textual 8.2.8's own driver is ``drivers/linux_driver.py``. The undocumented names of Textual that
this driver needs are listed in ``tests/terminal/test_textual_names.py``.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial
from typing import Any, ClassVar

from textual import constants, events
from textual.app import App
from textual.driver import Driver
from textual.geometry import Size
from textual.message import Message

from tpmconsole.system.terminal import output_descriptor
from tpmconsole.ui.terminal import size as line_size
from tpmconsole.ui.terminal.input.decoder import Delays
from tpmconsole.ui.terminal.input.reader import LineReader
from tpmconsole.ui.terminal.output.display import Display
from tpmconsole.ui.terminal.profile import LineProfile, current
from tpmconsole.ui.terminal.raw_mode import RawMode, enter_sequence, leave_sequence, set_up_sequence
from tpmconsole.ui.terminal.signals import LineSignals
from tpmconsole.ui.terminal.size import LineSize


class LineDriver(Driver):
    """A driver that sends only what changed, and survives any input.

    Attributes:
        profile: the kind of line; None: detected when the app starts. See `line_driver`.
    """

    profile: ClassVar[LineProfile | None] = None

    def __init__(
        self,
        app: App[Any],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._line = self.profile or current("auto", mouse=mouse)
        self._input = sys.__stdin__.fileno() if sys.__stdin__ else 0
        self._output = output_descriptor() or 0
        known = line_size.read_size(self._output)
        first = known or line_size.FALLBACK
        super().__init__(
            app, debug=debug, mouse=mouse and self._line.mouse, size=LineSize(*(size or first))
        )
        self._display = Display(self._output, self._line, first, on_hangup=self._hung_up)
        self._reader = LineReader(
            app,
            self._input,
            Delays(escape=constants.ESCAPE_DELAY, hold=self._line.key_hold_s),
            mouse=self._mouse,
            deliver=self.process_message,
            on_sequence=self._answered,
            on_hangup=self._hung_up,
        )
        self._signals = LineSignals(
            on_end=self._end,
            on_overdue=self._overdue,
            on_resize=self._size_changed,
            on_stop=self._stop,
            on_continue=self._continue,
        )
        self._raw = RawMode(self._input)
        self._size_known = known is not None
        self._size_asked = False
        self._size_timer: asyncio.TimerHandle | None = None
        self._active = False
        self._stopped = False

    # Called by Textual.

    @property
    def can_suspend(self) -> bool:
        """True: SIGTSTP and ``App.suspend`` give the terminal back for a while."""
        return True

    def write(self, data: str) -> None:
        """Accept a frame, a bell or a copy to the clipboard; never waits."""
        self._display.write(data)

    def start_application_mode(self) -> None:
        """Take the terminal over and show the first frame."""
        self._active = True
        self._signals.watch()
        self._raw.enter()
        self._display.start(enter_sequence(self._line), held=not self._size_known)
        self._reader.start()
        if self._size_known:
            self._size_changed()
            self._display.release()
        else:
            self._ask_size()
            self._size_timer = self._loop.call_later(line_size.PROBE_SECONDS, self._size_unanswered)

    def disable_input(self) -> None:
        """Stop reading."""
        self._reader.stop()
        if self._size_timer is not None:
            self._size_timer.cancel()

    def stop_application_mode(self) -> None:
        """Restore the terminal."""
        if self._active:
            self._active = False
            self.disable_input()
            self._display.stop(leave_sequence(self._line))
            self._raw.leave()

    def suspend_application_mode(self) -> None:
        """Restore the terminal for a while."""
        self.stop_application_mode()
        self._signals.lend()

    def close(self) -> None:
        """Release everything."""
        self._signals.unwatch()
        self._display.close()

    def send_message(self, message: Message) -> None:
        """Post an event to the app; everything here runs in its event loop."""
        self._app.post_message(message)

    # Called by apps.

    def repaint(self) -> None:
        """Set up the terminal again, send the whole screen, and ask for the size again.

        This repairs what noise, another program, or a change of the terminal has done.
        """
        if not self._active:
            return
        self._raw.enter()
        self._display.repaint(set_up_sequence(self._line))
        if self._line.serial:
            self._ask_size()
        else:
            self._size_changed()

    # The size of the terminal.

    def _ask_size(self) -> None:
        self._size_asked = True
        self._display.ask(line_size.PROBE)

    def _answered(self, sequence: str) -> bool:
        """Use the size in a sequence; return True if the sequence reports a size."""
        size = line_size.parse_in_band(sequence)
        if size is None and self._size_asked:
            size = line_size.parse_reply(sequence)
        if size is None:
            return False
        self._size_asked = False
        self._settle_size(size)
        return True

    def _size_unanswered(self) -> None:
        # An answer that comes later still counts.
        self._settle_size(line_size.FALLBACK)

    def _settle_size(self, size: LineSize) -> None:
        self._size_known = True
        if self._size_timer is not None:
            self._size_timer.cancel()
        line_size.store_size(self._output, size)
        self._use_size(size)
        self._display.release()

    def _size_changed(self) -> None:
        size = line_size.read_size(self._output)
        if size is not None:
            self._use_size(size)

    def _use_size(self, size: LineSize) -> None:
        if size != self._size:
            self._size = size
            self._display.resize(size)
            cells = Size(*size)
            self.send_message(events.Resize(cells, cells))

    # Stopping, continuing, ending.

    def _stop(self) -> None:
        self._stopped = True
        self.suspend_application_mode()

    def _continue(self) -> None:
        if self._stopped:
            self._stopped = False
            self.start_application_mode()
            self.send_message(self.SignalResume())
        else:
            # It was stopped by SIGSTOP, which no program can catch; the shell used the terminal.
            self.repaint()

    def _hung_up(self) -> None:
        if self._active:
            self._signals.end(signal.SIGHUP)

    def _end(self, code: int) -> None:
        # Sent as a message: an app that exits before it has mounted its screen would crash.
        leave = partial(self._app.exit, return_code=code)
        self.send_message(events.Callback(callback=leave))

    def _overdue(self) -> None:
        """Restore the terminal although the app has not ended in time."""
        if self._active:
            self._display.farewell_at_once(leave_sequence(self._line))
            self._raw.leave()


def line_driver(profile: LineProfile) -> type[LineDriver]:
    """Return the driver class for a line, for ``App(driver_class=…)``."""
    return type("LineDriver", (LineDriver,), {"profile": profile})


def repaint(app: App[Any]) -> None:
    """Send an app's whole screen again; see `LineDriver.repaint`.

    With another driver (tests, a browser) the app just refreshes.
    """
    driver = app._driver
    if isinstance(driver, LineDriver):
        driver.repaint()
    else:
        app.refresh(layout=True)
