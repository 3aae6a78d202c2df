"""The app of ``sample.py``; importing it imports Textual."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import ModalScreen
from textual.widgets import Button, ContentSwitcher, DataTable, Input, Static

from tpmconsole.ui.terminal.crash import QuietCrash
from tpmconsole.ui.terminal.driver import repaint


class Ask(ModalScreen[None]):
    """A dialog."""

    CSS = """
    Ask { align: center middle; background: transparent; }
    #box { width: 44; height: 9; border: ascii red; background: ansi_default; padding: 1; }
    Button { border: none; height: 1; min-width: 10; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss", "Back")]

    def compose(self) -> ComposeResult:
        from textual.containers import Vertical

        with Vertical(id="box"):
            yield Static("Remove the key 0x81000010 from the TPM?\nIt cannot be made again.\n")
            yield Button("Keep it", id="keep")


class SampleApp(QuietCrash):
    """Two views, a dialog, an input."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; }
    #bar, #keys { height: 1; }
    #bar { background: ansi_blue; color: ansi_bright_white; }
    ContentSwitcher { height: 1fr; }
    DataTable { height: 1fr; background: ansi_default; scrollbar-size-vertical: 1; }
    Input { border: none; height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "view('table')"),
        Binding("2", "view('text')"),
        Binding("m", "ask"),
        Binding("i", "type"),
        Binding("c", "crash"),
        Binding("k", "block"),
        Binding("u", "count"),
        Binding("z", "suspend_process"),
        Binding("x", "lend"),
        Binding("ctrl+l", "repaint"),
        Binding("ctrl+r", "reset", priority=True),
        Binding("q", "quit"),
    ]

    def __init__(self, driver_class: type[Driver] | None, block: Callable[[float], None]) -> None:
        super().__init__(driver_class=driver_class)
        self._block = block
        self._count = 0

    def compose(self) -> ComposeResult:
        yield Static("sample  ready", id="bar")
        with ContentSwitcher(initial="table"):
            yield DataTable(id="table", cursor_type="row")
            yield Static(
                "\n".join(f"Line {n}: " + "state ok  " * (n % 6) for n in range(19)), id="text"
            )
        yield Input(placeholder="type here", select_on_focus=False, id="input")
        yield Static("1 Table  2 Text  m Dialog  q Quit", id="keys")

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        table.add_columns("Name", "Handle", "Algorithm", "State")
        for n in range(40):
            table.add_row(
                f"key-{n:02}", f"0x8100{n:04x}", ("EC P-256", "RSA 2048")[n % 2], "usable"
            )
        self.query_one(Input).cursor_blink = False
        table.focus()

    def on_key(self, event: events.Key) -> None:
        if event.key not in self.active_bindings or event.key == "down":
            self.say(f"key {event.key}")

    def on_paste(self, event: events.Paste) -> None:
        self.say(f"pasted {len(event.text)}")

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.say(f"mouse {event.screen_x},{event.screen_y}")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.say(f"typed {event.value}")

    def say(self, text: str) -> None:
        self.query_one("#bar", Static).update(f"sample  {text}")

    def action_view(self, name: str) -> None:
        self.query_one(ContentSwitcher).current = name
        self.query_one(f"#{name}").focus()

    def action_ask(self) -> None:
        self.push_screen(Ask())

    def action_type(self) -> None:
        self.query_one(Input).focus()

    def action_count(self) -> None:
        self._count += 1
        self.say(f"count {self._count}")

    def action_crash(self) -> None:
        password = "hunter2-secret"
        raise ValueError(f"bad {password}")

    def action_block(self) -> None:
        self._block(60)

    def action_lend(self) -> None:
        with self.suspend():
            subprocess.run(["/bin/stty", "-a"], check=True)

    def action_reset(self) -> None:
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self._count = 0
        self.query_one(Input).value = ""
        self.query_one(DataTable).move_cursor(row=0)
        self.action_view("table")
        self.say("ready")

    def action_repaint(self) -> None:
        repaint(self)


def make_app(driver_class: type[Driver] | None, block: Callable[[float], None]) -> SampleApp:
    app = SampleApp(driver_class, block)
    app.theme = "ansi-dark"
    return app
