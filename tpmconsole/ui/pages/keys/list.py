"""The list of keys: shown as it is read, filtered by typing, and sorted; without actions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.widget import Widget

from tpmconsole.board.keys import KeyList
from tpmconsole.board.phrases import room_words
from tpmconsole.tpm.model import KeyCheck, KeyFile, Lockout, PersistentKey
from tpmconsole.ui.background import Progress
from tpmconsole.ui.pages.keys.details import COLUMNS, facts, place, row
from tpmconsole.ui.pages.keys.view import KeyView, read
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.rows import Fact
from tpmconsole.ui.widgets.details import DetailPane
from tpmconsole.ui.widgets.table import Table

if TYPE_CHECKING:
    Key = KeyFile | PersistentKey


class KeyListPage(Page):
    """One table for both kinds of key, and a detail pane.

    Attributes:
        view: which keys are shown.
        answers: whether the TPM can use them, by place; only for keys that were checked.
        folder: the folder whose key files are listed; None for those of the identities.
        going_to: the identity whose key gets the cursor when the list has been read; empty for
            the key that has it.
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.view = KeyView(self._row, len(COLUMNS))
        self.answers: dict[str, KeyCheck] = {}
        self.folder: Path | None = None
        self.typing = False
        self.going_to = ""
        self._reading: Progress | None = None
        self._found: list[Key] = []
        self._at_once = True
        self._inside: KeyList | None = None

    def compose(self) -> ComposeResult:
        yield Table(COLUMNS, state_column=4)
        yield DetailPane()

    def focus_target(self) -> Widget:
        return self._table

    @property
    def _table(self) -> Table:
        return self.query_one(Table)

    def chosen(self) -> Key | None:
        """The key under the cursor."""
        number = self._table.chosen
        return self.view.shown[number] if number is not None else None

    @property
    def persistent(self) -> tuple[PersistentKey, ...]:
        """The keys at the TPM's handles, if it has answered."""
        return self._inside.persistent if self._inside else ()

    @property
    def lockout(self) -> Lockout | None:
        """The TPM's protection against password guessing, as last read."""
        return self.console.health.lockout if self.console.health else None

    def answered(self, key: Key, answer: KeyCheck) -> None:
        """Show whether the TPM can use a key."""
        self.answers[place(key)] = answer
        number = self.view.index(key)
        if number is not None:
            self._table.change(number, self._row(key))
            if number == self._table.chosen:
                self._show_detail()

    # Reading the list

    def refresh_data(self) -> None:
        if self._reading is not None:
            self._reading.stop()
        self._reading = progress = Progress(self.app, self._more)
        self._found = []
        # The old list stays until the new one is read, so that it does not shrink and grow.
        self._at_once = not self.view.whole
        paths = [self.folder] if self.folder else []
        self.job(
            "reading the keys",
            partial(read, self.board, paths, progress),
            partial(self._all_read, progress),
        )
        self.console.refresh_health(silent=True)  # the remaining attempts are shown before asking

    def _more(self, keys: list[Key]) -> None:
        self._found += keys
        if self._at_once:
            first = not self.view.whole
            self._table.extend([self._row(key) for key in self.view.add(keys)])
            self.show_position()
            if first:
                self._show_detail()
                self.console.show_keys()

    def _all_read(self, progress: Progress, inside: KeyList) -> None:
        if progress.stopped:
            return
        self._reading = None
        self._inside = inside
        if inside.no_tpm:
            self.console.say(f"persistent handles not listed: {inside.no_tpm}", bad=True)
        before = self.chosen()
        self.view.replace([*self._found, *inside.persistent])
        self._found = []
        self.present(self._row_for_cursor(before))

    def _row_for_cursor(self, before: Key | None) -> int | None:
        """Where the cursor goes after reading: to the key that was changed, else with its own."""
        name, self.going_to = self.going_to, ""
        for number, key in enumerate(self.view.shown):
            if key.identity == name if name else before and place(key) == place(before):
                return number
        return None

    # Showing it

    def present(self, chosen: int | None = None) -> None:
        """Show the list as it is now.

        Args:
            chosen: the key that gets the cursor; by default it stays.
        """
        self._table.present([self._row(key) for key in self.view.shown], chosen)
        self.show_position()
        self._show_detail()
        self.console.show_keys()

    def _row(self, key: Key) -> list[str]:
        folder = self.folder or self.board.settings.identities
        return row(key, self.answers.get(place(key)), folder)

    def on_table_moved(self) -> None:
        self._show_detail()
        self.console.show_keys()

    def _show_detail(self) -> None:
        key = self.chosen()
        if key is not None:
            kiosk = self.board.settings.kiosk
            shown = facts(key, self.answers.get(place(key)), self.lockout, kiosk=kiosk)
            if self._table.cut:
                shown = [Fact("Where", "", self._row(key)[0]), *shown]
        elif self.view.whole:
            shown = [Fact("", "NONE", "no key matches; Esc shows all")]
        else:
            shown = [Fact("", "NONE", self.unless_kiosk("c makes the first key"))]
        self.query_one(DetailPane).present(shown)

    def position(self, row: int, count: int) -> str:
        parts = [super().position(row, count)]
        if self.narrowed():
            parts.insert(0, f"/{self.view.words}" + ("_" if self.typing else ""))
        if self.view.column is not None:
            parts.append(f"by {COLUMNS[self.view.column][0].lower()}")
        if self._inside and self._inside.room:
            parts.append(f"TPM: {room_words(self._inside.room)}")
        return ", ".join(parts)

    def sort(self) -> None:
        """Sort by the next column."""
        self.view.sort_by_next()
        self.present(0)

    # Narrowing it by typing

    def narrowed(self) -> bool:
        """Whether a filter may hide some keys."""
        return self.typing or bool(self.view.words)

    def start_typing(self) -> None:
        """Start to filter: letters now narrow the list."""
        self.typing = True
        self.show_position()
        self.console.show_keys()

    def end_typing(self) -> None:
        """Keep the filter, and let letters be commands again."""
        self.typing = False
        self.show_position()
        self.console.show_keys()

    def show_all(self) -> None:
        """Show all keys again."""
        self.typing = False
        self._narrow("")

    def _narrow(self, words: str) -> None:
        self.view.narrow(words)
        self.present(0)

    def on_key(self, event: events.Key) -> None:
        """While a filter is typed, letters are not commands."""
        if not self.typing:
            return
        if event.key in ("backspace", "ctrl+h"):
            self._narrow(self.view.words[:-1])
        elif event.is_printable and event.character:
            self._narrow(self.view.words + event.character)
        else:
            return
        event.stop()
        event.prevent_default()
