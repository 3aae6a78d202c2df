"""What all pages have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget

from tpmconsole.errors import ConsoleError
from tpmconsole.ui.background import Job
from tpmconsole.ui.command import Command
from tpmconsole.ui.console import Console, console_of
from tpmconsole.ui.widgets.details import DetailPane
from tpmconsole.ui.widgets.table import Table

if TYPE_CHECKING:
    from tpmconsole.board import Board


class Page(Vertical):
    """A page between the bars."""

    @property
    def console(self) -> Console:
        return console_of(self)

    @property
    def board(self) -> Board:
        return self.console.board

    def unless_kiosk(self, words: str, instead: str = "the tour makes one: page 6") -> str:
        """Text that names keys; in a kiosk, which lacks those keys, another text."""
        return instead if self.board.settings.kiosk else words

    def compose(self) -> ComposeResult:
        raise NotImplementedError

    def commands(self) -> tuple[Command, ...]:
        """The commands of this page, in the order of the key line."""
        return ()

    def opened(self) -> None:
        """Called when the page is shown."""
        self.refresh_data()

    def refresh_data(self) -> None:
        """Read again what the page shows, outside the event loop."""

    def health_changed(self) -> None:
        """Called when the TPM has reported its state, or cannot be reached."""

    def focus_target(self) -> Widget | None:
        """The widget that gets the keys when the page opens."""
        return None

    @on(Table.Moved)
    def show_position(self) -> None:
        """Show the cursor's position in the list; a scroll bar would cost bytes at each move."""
        table = self.query_one(Table)
        text = self.position(table.cursor_row, table.row_count)
        self.query_one(DetailPane).place(text)

    def position(self, row: int, count: int) -> str:
        """The position as text."""
        return f"{min(row + 1, count)} of {count}"

    @on(Table.Pressed)
    def obey_enter(self) -> None:
        """A table handles Enter itself; run the page's command for it."""
        self.console.obey("enter")

    def turn(self) -> None:
        """Scroll the pane below a list, to show what does not fit."""
        for pane in self.query(DetailPane):
            pane.turn()

    def job(
        self,
        label: str,
        work: Callable[[], Any],
        done: Callable[[Any], None] | None = None,
        failed: Callable[[ConsoleError], None] | None = None,
    ) -> Job:
        """Start work in a thread; ``done`` and ``failed`` are called in the event loop."""
        job = Job(label, work, done, failed)
        self.console.start_job(job)
        return job
