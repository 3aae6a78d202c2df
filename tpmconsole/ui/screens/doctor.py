"""Page 5: every probe with its finding and its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.widget import Widget

from tpmconsole.files import write_atomic
from tpmconsole.inputs import user_path
from tpmconsole.ui.commands import Command
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.screens.forms import check_path
from tpmconsole.ui.screens.page import Page
from tpmconsole.ui.styled import Fact
from tpmconsole.ui.widgets.facts import Facts
from tpmconsole.ui.widgets.table import Table

if TYPE_CHECKING:
    from tpmconsole.doctor import Finding

COLUMNS = (("PROBE", 12), ("STATE", 8), ("FINDING", 56))


class DoctorPage(Page):
    """What was looked at, what was found, and what to do about it."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._findings: list[Finding] = []

    def compose(self) -> ComposeResult:
        yield Table(COLUMNS, state_column=1)
        yield Facts(classes="detail")

    def commands(self) -> tuple[Command, ...]:
        def idle() -> bool:
            return self.console.jobs.visible is None

        return (
            Command(
                "r", "Run again", "look at everything again", self.refresh_data, idle, kiosk=True
            ),
            Command(
                "w",
                "Write report",
                "everything for support, in one file",
                self._write,
                idle,
            ),
        )

    def focus_target(self) -> Widget:
        return self.query_one(Table)

    def refresh_data(self) -> None:
        from tpmconsole.doctor import examine

        self.job("examining the board", lambda: examine(self.board), self._examined)

    def _examined(self, findings: Any) -> None:
        self._findings = findings
        self.query_one(Table).present(
            [(one.probe, one.state.upper(), one.finding) for one in self._findings]
        )
        self._show_detail()

    def on_data_table_row_highlighted(self) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        table = self.query_one(Table)
        if table.chosen is None:
            return
        one = self._findings[table.chosen]
        # What the row already shows in full is not shown again.
        facts = [] if table.fits(one.finding) else [Fact("Finding", "", one.finding)]
        remedy = one.remedy or "nothing has to be done"
        self.query_one(Facts).present([*facts, Fact("Try", "", remedy)])

    def _write(self) -> None:
        from tpmconsole.report import make_report

        def go(values: Mapping[str, str] | None) -> None:
            if values:
                path = user_path(values["path"])
                self.job(
                    "writing the report",
                    lambda: write_atomic(path, make_report(self.board).text.encode()),
                    lambda _: self.console.main.say(f"{path} written"),
                )

        field = Field("path", "File", "~/tpmconsole-report.txt", "where the report is written")
        self.app.push_screen(
            FormDialog("Write the report", [field], lambda values: check_path(values["path"])), go
        )
