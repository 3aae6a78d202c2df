"""Page 5: every probe with its finding, its evidence and its remedy, as they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.message import Message
from textual.widget import Widget

from tpmconsole.errors import ConsoleError
from tpmconsole.system.files import write_out
from tpmconsole.ui.command import Command
from tpmconsole.ui.confirm import plan_and_confirm
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.dialogs.message import TextDialog
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.rows import Fact
from tpmconsole.ui.saving import Again, ask_where
from tpmconsole.ui.widgets.details import DetailPane
from tpmconsole.ui.widgets.list_table import ListTable
from tpmconsole.ui.widgets.table import Column

if TYPE_CHECKING:
    from tpmconsole.board.doctor import Finding

COLUMNS = (Column("PROBE", 12, 16), Column("STATE", 8), Column("FINDING", 54))
MODES_SHOWN = 6
REPORT = "tpmconsole-report.txt"
_TROUBLE = ("fail", "warn")


class Probed(Message):
    """A probe has finished; posted by the job's thread."""

    def __init__(self, run: int, finding: Finding) -> None:
        super().__init__()
        self.run = run
        self.finding = finding


class DoctorPage(Page):
    """The probes, their findings, and what to do about them."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._findings: list[Finding] = []
        self._new: list[Finding] = []
        self._run = 0
        self._examining = False

    def compose(self) -> ComposeResult:
        yield ListTable(COLUMNS, 1, _row, lambda one: one.name)
        yield DetailPane(state_width=0)

    def commands(self) -> tuple[Command, ...]:
        def idle() -> bool:
            return self.console.jobs.visible is None

        def chosen() -> bool:
            return self._chosen() is not None

        def troubled() -> bool:
            return any(one.state in _TROUBLE for one in self._table.view.shown)

        def open_to_others() -> bool:
            return idle() and any(
                one.name == "files" and one.state == "fail" for one in self._findings
            )

        return (
            Command(
                "r", "Run again", "examine everything again", self.refresh_data, idle, kiosk=True
            ),
            Command("n", "Next", "go to the next warn or fail", self._next, troubled, kiosk=True),
            # Not for visitors: it may contain log lines and the names of programs.
            Command(
                "enter", "Evidence", "everything that a probe has seen", self._show_all, chosen
            ),
            Command(
                "m",
                "Repair modes",
                "correct the modes of our files",
                self._ask_to_repair,
                open_to_others,
            ),
            Command("w", "Write report", "everything for support, in one file", self._write, idle),
        )

    def copies(self) -> Sequence[Copy]:
        one = self._chosen()
        if one is None:
            return ()
        lines = [f"{one.name}: {one.state.upper()}: {one.text}", *one.evidence]
        return (Copy("finding", "\n".join([*lines, f"Try: {say(one.remedy)}"])),)

    def focus_target(self) -> Widget:
        return self._table

    # Examining

    def refresh_data(self) -> None:
        from tpmconsole.board.doctor import examine

        if self._examining:
            return
        self._examining, self._new, self._run = True, [], self._run + 1
        run = self._run

        def work() -> list[Finding]:
            found = []
            for one in examine(self.board):
                found.append(one)
                self.post_message(Probed(run, one))
            return found

        self.job("examining the board", work, self._examined, self._not_examined)

    def on_probed(self, message: Probed) -> None:
        if message.run != self._run or not self._examining:
            return  # its last answer arrived before this message
        self._new.append(message.finding)
        # The last examination's findings remain until this one replaces them.
        self._present([*self._new, *self._findings[len(self._new) :]])

    def _examined(self, findings: Any) -> None:
        self._examining = False
        self._findings = findings
        self._present(findings)
        bad, odd = (sum(one.state == state for one in findings) for state in ("fail", "warn"))
        if self.console.in_front(self):
            told = f"fail {bad}, warn {odd}: n goes to the next" if bad or odd else "all is well"
            self.console.say(told, bad=bad > 0)
        self.console.show_keys()

    def _not_examined(self, error: ConsoleError) -> None:
        self._examining = False
        self.console.show_error(error)

    # Showing

    def _present(self, findings: Sequence[Finding]) -> None:
        self._table.replace(findings)
        self.show_position()
        self._show_detail()

    @property
    def _table(self) -> ListTable[Finding]:
        return self.query_one(ListTable)

    def _chosen(self) -> Finding | None:
        return self._table.item

    def on_table_moved(self) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        one = self._chosen()
        if one is None:
            return
        # Do not repeat what the row shows in full, and show only one line of the evidence: it is
        # sent at each move of the cursor. Enter shows everything.
        cut = not self._table.fits(one.text)
        facts = [Fact("Finding", "", one.text)] if cut else []
        if one.evidence and not cut:
            facts.append(Fact("Seen", "", one.evidence[0]))
        if one.remedy:
            facts.append(Fact("Try", "", say(one.remedy)))
        self.query_one(DetailPane).present(facts)

    def _next(self) -> None:
        """Move the cursor to the next row that is not OK; after the last comes the first."""
        table = self._table
        here = table.cursor_row
        rows = [number for number, one in enumerate(table.view.shown) if one.state in _TROUBLE]
        table.move_cursor(row=next((row for row in rows if row > here), rows[0]))

    def _show_all(self) -> None:
        one = self._chosen()
        if one is None:
            return
        facts = [Fact("Finding", "", one.text)]
        facts += [
            Fact("Seen" if number == 0 else "", "", line)
            for number, line in enumerate(one.evidence)
        ]
        facts.append(Fact("Try", "", say(one.remedy) or "nothing needs to be done"))
        title = f"{one.name}: {one.state.upper()}"
        self.app.push_screen(TextDialog(title, "", facts, state_width=0))

    # What the keys do

    def _ask_to_repair(self) -> None:
        from tpmconsole.board.doctor.modes import plan_repair

        plan_and_confirm(
            self,
            lambda: plan_repair(self.board),
            self._repaired,
            lambda: self.console.say("nothing that this user could repair"),
        )

    def _repaired(self, count: int) -> None:
        self.console.say(f"{count} modes repaired")
        self.refresh_data()

    def _write(self) -> None:
        from tpmconsole.board.report import make_report

        def write(path: Path, again: Again) -> None:
            self.job(
                "writing the report",
                lambda: write_out(path, make_report(self.board, say=say).text.encode()),
                lambda _: self.console.say(f"{path} written"),
                lambda error: self.console.show_error(error, again),
            )

        ask_where(self, "Write the report", REPORT, write)


def _row(one: Finding) -> tuple[str, ...]:
    return one.name, one.state.upper(), one.text
