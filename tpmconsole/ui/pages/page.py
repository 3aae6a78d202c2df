"""What all pages have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget

from tpmconsole.errors import ConsoleError
from tpmconsole.ui.background import Job
from tpmconsole.ui.command import Command
from tpmconsole.ui.console import Console, console_of
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.widgets.details import DetailPane
from tpmconsole.ui.widgets.list_table import ListTable
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

    def copies(self) -> Sequence[Copy]:
        """The texts about what is under the cursor that ``y`` copies."""
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

    @property
    def list(self) -> ListTable[Any] | None:
        """The list of the page, if it has one."""
        return self.query(ListTable).first() if self.query(ListTable) else None

    @on(Table.Moved)
    def show_position(self) -> None:
        """Say what the list shows, and where the cursor is; a scroll bar would cost more bytes."""
        if self.list is not None:
            self.query_one(DetailPane).place(self.list_title(self.list))

    @on(ListTable.Arranged)
    def show_arranged(self) -> None:
        """Say by what filter and in what order the list is shown now."""
        self.show_position()
        self.console.show_keys()

    def list_title(self, shown: ListTable[Any]) -> str:
        """The title of the list, as wide as the screen at most."""
        return shown.title()

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
