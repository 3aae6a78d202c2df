"""The manual on the screen: its sections, a search in all of them, and one page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tpmconsole.board.manual import Section, read_manual, search
from tpmconsole.errors import ConsoleError
from tpmconsole.ui.background import Job
from tpmconsole.ui.console import console_of
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.dialogs.message import TextDialog
from tpmconsole.ui.dialogs.sheet import Sheet
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.widgets.table import Column, Table

_COLUMNS = (Column("", 34, 60), Column("", 40))
_BARS = 3  # rows of a sheet that are not text: its title, an empty one, its keys


class HelpDialog(TextDialog):
    """The keys of a page; ``m`` opens the manual."""

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("m", "Manual"), *super().keys())

    def pressed(self, event: events.Key) -> None:
        if event.key == "m":
            event.stop()
            self.app.switch_screen(ManualSheet())
        else:
            super().pressed(event)


class ManualSheet(Sheet[None]):
    """The sections of the manual, or those that a search has found."""

    def __init__(self) -> None:
        super().__init__("Manual")
        self._sections: tuple[Section, ...] = ()
        self._places: list[tuple[int, int]] = []  # section and line of each row

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("enter", "Read"), ("slash", "Search"), ("escape", "Close"))

    def body(self) -> ComposeResult:
        yield Static("", classes="sheet-place")
        yield Table(_COLUMNS, state_column=-1, header=False)

    def on_mount(self) -> None:
        self.query_one(Table).focus()
        console_of(self).start_job(Job("", read_manual, self._read, self._not_read))

    def _read(self, sections: Any) -> None:
        if self.is_attached:
            self._sections = sections
            self._show_contents()

    def _not_read(self, error: ConsoleError) -> None:
        if self.is_attached:
            self._say(f"{error.title}: {error.cause}; {say(error.remedy)}")

    def on_table_moved(self, event: Table.Moved) -> None:
        event.stop()

    def on_table_pressed(self, event: Table.Pressed) -> None:
        event.stop()
        chosen = self.query_one(Table).chosen
        if chosen is not None:
            self.app.push_screen(SectionSheet(self._sections, *self._places[chosen]))

    def pressed(self, event: events.Key) -> None:
        if event.key == "slash":
            event.stop()
            hint = "words that a section must contain; empty: all sections"
            self.app.push_screen(
                FormDialog("Search", [Field("words", "Words", "", hint)]), self._go
            )

    def _go(self, values: Any) -> None:
        if values is None:
            return
        words = values["words"].strip()
        if not words:
            self._show_contents()
            return
        hits = search(self._sections, words)
        self._say(f"{len(hits)} of {len(self._sections)} sections contain '{words}'")
        self._present(
            [(self._sections[hit.section].title, hit.text) for hit in hits],
            [(hit.section, hit.line) for hit in hits],
        )

    def _show_contents(self) -> None:
        self._say(f"{len(self._sections)} sections")
        self._present(
            [(section.title, section.page) for section in self._sections],
            [(index, 0) for index in range(len(self._sections))],
        )

    def _present(self, rows: list[tuple[str, str]], places: list[tuple[int, int]]) -> None:
        self._places = places
        self.query_one(Table).present(rows, chosen=0)

    def _say(self, text: str) -> None:
        self.query_one(".sheet-place", Static).update(Content(text))


class SectionSheet(Sheet[None]):
    """A section, one screen at a time; after its last page comes the next section.

    Args:
        sections: the whole manual.
        section: the index of the first section.
        line: a line that must be on the first page shown.
    """

    def __init__(self, sections: Sequence[Section], section: int, line: int = 0) -> None:
        super().__init__(sections[section].title)
        self._sections = sections
        self._section = section
        self._line = line

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("space", "Next page"), ("b", "Previous page"), ("escape", "Contents"))

    def body(self) -> ComposeResult:
        yield Static("", classes="sheet-place")

    def on_mount(self) -> None:
        self._show()

    def on_resize(self) -> None:
        self._show()

    def pressed(self, event: events.Key) -> None:
        steps = {"space": 1, "pagedown": 1, "right": 1, "enter": 1}
        steps |= {"b": -1, "pageup": -1, "left": -1}
        if event.key in steps:
            event.stop()
            self._turn(steps[event.key])

    @property
    def _rows(self) -> int:
        return max(1, self.app.size.height - _BARS)

    @property
    def _page(self) -> int:
        return self._line // self._rows

    def _pages(self) -> int:
        return -(-len(self._sections[self._section].lines) // self._rows)

    def _turn(self, step: int) -> None:
        page, section = self._page + step, self._section
        if 0 <= page < self._pages():
            self._line = page * self._rows
        elif 0 <= section + step < len(self._sections):
            self._section = section + step
            self._line = 0 if step > 0 else (self._pages() - 1) * self._rows
        self._show()

    def _show(self) -> None:
        section = self._sections[self._section]
        first = self._page * self._rows
        lines = section.lines[first : first + self._rows]
        place = f"{section.page}: {section.title}, page {self._page + 1} of {self._pages()}"
        self.query_one(".sheet-title", Static).update(Content.styled(place, "bold"))
        self.query_one(".sheet-place", Static).update(Content("\n".join(lines)))
