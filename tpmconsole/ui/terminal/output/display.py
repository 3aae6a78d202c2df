"""Decide what is sent down the line, and when.

Textual may write at any time; its output is painted into the wanted grid at once. The difference to
what the terminal shows is sent when Textual has paused for a moment and the line has sent
everything else. So a busy line skips frames: it never gets an old frame if there is a newer one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tpmconsole.ui.terminal.output.encoder import Encoder
from tpmconsole.ui.terminal.output.grid import Grid
from tpmconsole.ui.terminal.output.painter import Painter, is_direct
from tpmconsole.ui.terminal.output.style import ALL_FLAGS, SERIAL_FLAGS
from tpmconsole.ui.terminal.output.writer import Outlet, Pace
from tpmconsole.ui.terminal.profile import LineProfile
from tpmconsole.ui.terminal.size import LineSize

# The first change of a frame waits for others at most this many times as long as the last one.
_LONGEST_MERGE = 4
_LAST_FRAME_SECONDS = 0.5
_FAREWELL_SECONDS = 0.5
_LAST_CHANCE_SECONDS = 0.1


class Display:
    """Shows on a terminal what Textual writes.

    Args:
        descriptor: the terminal.
        profile: the kind of line.
        size: its size.
        on_hangup: called in the event loop when the terminal is gone.
    """

    def __init__(
        self,
        descriptor: int,
        profile: LineProfile,
        size: LineSize,
        *,
        on_hangup: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._profile = profile
        self._pace = Pace.of(profile.baud)
        self._grid = Grid(*size)
        self._painter = Painter(
            self._grid,
            ascii_only=profile.ascii,
            flags=SERIAL_FLAGS if profile.serial else ALL_FLAGS,
        )
        self._encoder = Encoder(*size, may_clear=profile.serial)
        self._outlet = Outlet(descriptor, self._loop, on_ready=self._next, on_failure=on_hangup)
        self._direct: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._first_change: float | None = None
        self._open = False
        self._held = False

    def start(self, modes: str, *, held: bool = False) -> None:
        """Clear the screen and start to show frames.

        Args:
            modes: sequences to send first.
            held: send only these until `release`.
        """
        self._encoder.forget()
        self._held = held
        self._open = True
        self._send(modes)

    def release(self) -> None:
        """Start to send what ``held`` has kept back."""
        self._held = False
        self._changed()

    def stop(self, modes: str) -> None:
        """Stop showing frames.

        Args:
            modes: sequences to send last. If the line is blocked, this takes a second.
        """
        self._open = False
        self._direct.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._outlet.drain(_LAST_FRAME_SECONDS):
            self._outlet.discard()
        self._send(modes)
        self._outlet.drain(_FAREWELL_SECONDS)

    def farewell_at_once(self, modes: str) -> None:
        """Send the last sequences; may be called from a signal handler."""
        self._outlet.send_last(modes.encode("ascii"), _LAST_CHANCE_SECONDS)

    def close(self) -> None:
        """Release the terminal."""
        self._outlet.close()

    def write(self, data: str) -> None:
        """Handle one write from Textual."""
        if is_direct(data):
            self._direct.append(data)
        else:
            self._painter.feed(data)
        self._changed()

    def resize(self, size: LineSize) -> None:
        """Use a new size; the terminal is cleared before the next frame."""
        self._grid.resize(*size)
        self._encoder.resize(*size)

    def repaint(self, first: str) -> None:
        """Send everything again.

        Args:
            first: sequences to send before it.
        """
        self._encoder.forget()
        self._direct.append(first)
        self._changed()

    def ask(self, query: str) -> None:
        """Send a query without the changes that are waiting."""
        self._encoder.lost_cursor()
        self._send(query)

    def _changed(self) -> None:
        """Schedule a frame, a little later so that more changes can join it."""
        if not self._open or self._held:
            return
        now = self._loop.time()
        if self._first_change is None:
            self._first_change = now
        merge = self._profile.merge_s
        self._plan(min(now + merge, self._first_change + _LONGEST_MERGE * merge))

    def _plan(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._emit)

    def _emit(self) -> None:
        """Send the difference, or as much of it as the line can carry in a moment."""
        self._timer = None
        if self._outlet.busy:
            return  # `_next` follows
        waiting = self._outlet.waiting()
        if waiting > self._pace.low:
            self._plan(self._loop.time() + self._pace.seconds(waiting))
            return
        self._first_change = None
        text = "".join(self._direct) + self._encoder.encode(self._grid, self._pace.slice)
        self._direct.clear()
        self._send(text + self._cursor())

    def _next(self) -> None:
        """Send more changes, if there are any: the kernel has accepted the last piece."""
        if self._open and not self._held and self._timer is None:
            self._emit()

    def _cursor(self) -> str:
        """Place the cursor for input methods; on a serial line this is not worth the bytes."""
        if self._profile.serial:
            return ""
        x, y = self._painter.x, self._painter.y
        return self._encoder.place_cursor(
            min(max(x, 0), self._grid.columns - 1), min(max(y, 0), self._grid.rows - 1)
        )

    def _send(self, text: str) -> None:
        encoding = "ascii" if self._profile.ascii else "utf-8"
        self._outlet.send(text.encode(encoding, "replace"))
