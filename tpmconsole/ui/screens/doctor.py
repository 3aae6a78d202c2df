"""Page 5: every probe with its finding and its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.content import Content
from textual.widget import Widget
from textual.widgets import DataTable

from tpmconsole.files import write_atomic
from tpmconsole.ui.commands import Command
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.screens.forms import fill_table
from tpmconsole.ui.screens.page import Page
from tpmconsole.ui.styled import Fact, state_style
from tpmconsole.ui.widgets.facts import Facts

if TYPE_CHECKING:
    from tpmconsole.doctor import Finding

COLUMNS = (("PROBE", 12), ("STATE", 8), ("FINDING", 56))


class DoctorPage(Page):
    """What was looked at, what was found, and what to do about it."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._findings: list[Finding] = []

    def compose(self) -> ComposeResult:
        table: DataTable[Content] = DataTable(cursor_type="row")
        for name, width in COLUMNS:
            table.add_column(name, width=width)
        yield table
        yield Facts(classes="detail")

    def commands(self) -> tuple[Command, ...]:
        def idle() -> bool:
            return self.console.jobs.visible is None

        return (
            Command("r", "Run again", "look at everything again", self.refresh_data, idle),
            Command(
                "w",
                "Write report",
                "everything for support, in one file",
                self._write,
                idle,
                kiosk=False,
            ),
        )

    def focus_target(self) -> Widget:
        return self.query_one(DataTable)

    def refresh_data(self) -> None:
        from tpmconsole.doctor import examine

        self.job("examining the board", lambda: examine(self.board), self._examined)

    def _examined(self, findings: Any) -> None:
        self._findings = findings
        fill_table(
            self.query_one(DataTable),
            [
                [
                    Content(one.probe),
                    Content.styled(one.state.upper(), state_style(one.state.upper())),
                    Content(one.finding),
                ]
                for one in self._findings
            ],
        )
        self._show_detail()

    def on_data_table_row_highlighted(self) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        row = self.query_one(DataTable).cursor_row
        if 0 <= row < len(self._findings):
            one = self._findings[row]
            lines = [Fact(one.probe, one.state.upper(), one.finding)]
            if one.remedy:
                lines.append(Fact("Try", "", one.remedy))
            self.query_one(Facts).present(lines)

    def _write(self) -> None:
        from tpmconsole.report import make_report

        def go(values: Mapping[str, str] | None) -> None:
            if values:
                path = Path(values["path"]).expanduser()
                self.job(
                    "writing the report",
                    lambda: write_atomic(path, make_report(self.board).text.encode()),
                    lambda _: self.console.main.say(f"{path} written"),
                )

        field = Field("path", "File", "~/tpmconsole-report.txt", "where the report is written")
        self.app.push_screen(FormDialog("Write the report", [field]), go)
