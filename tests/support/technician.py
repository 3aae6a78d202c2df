"""Drive the app without a terminal: with the command line's factory, 80x24, and real parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from tpmconsole.settings import Settings
from tpmconsole.ui.app import ConsoleApp
from tpmconsole.ui.start import building
from tpmconsole.ui.terminal.profile import LineProfile

SIZE = (80, 24)
PATIENCE_S = 30.0


class Technician:
    """Presses keys and reads the screen.

    Args:
        pilot: Textual's test driver for a running ConsoleApp.
    """

    def __init__(self, pilot: Pilot[int]) -> None:
        self.pilot = pilot

    @property
    def app(self) -> ConsoleApp:
        assert isinstance(self.pilot.app, ConsoleApp)
        return self.pilot.app

    async def press(self, *keys: str) -> None:
        """Press keys one after the other, and wait until their messages are handled."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type into the field that has the focus."""
        await self.press(*text)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Let the app run until the condition holds.

        Raises:
            AssertionError: it did not within 30 seconds; the message has the screen.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"never: {what}\n{self.screen()}"
            await asyncio.sleep(0)
            await self.pilot.pause(0.01)

    async def sees(self, text: str) -> None:
        """Wait until a text is on the screen."""
        await self.until(lambda: text in self.screen(), f"{text!r} on the screen")

    async def idle(self) -> None:
        """Wait until no job is running."""
        await self.until(lambda: not self.app.jobs.running, "no job running")
        await self.pilot.pause()

    def screen(self) -> str:
        """The screen as text, a line per row."""
        # Dialogs are drawn over the page; the texts of both count.
        screens = {id(one): one for one in (self.app.screen, self.app.screen_stack[0])}
        strips = (strip for one in screens.values() for strip in one._compositor.render_strips())
        return "\n".join(strip.text for strip in strips)


@asynccontextmanager
async def console(
    settings: Settings, size: tuple[int, int] = SIZE, profile: LineProfile | None = None
) -> AsyncIterator[Technician]:
    """A running console; left and closed at the end, its simulator too."""
    with building(settings, profile) as app:
        async with app.run_test(size=size) as pilot:
            yield Technician(pilot)
