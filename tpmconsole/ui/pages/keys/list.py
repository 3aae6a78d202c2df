"""The list of keys, shown as it is read; what can be done with them is in ``page``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from textual.app import ComposeResult
from textual.widget import Widget

from tpmconsole.board.dependents import fingerprint
from tpmconsole.board.keys import KeyList, sub_folders
from tpmconsole.board.phrases import room_words
from tpmconsole.text import printable
from tpmconsole.tpm.model import KeyCheck, KeyFile, Lockout, PersistentKey
from tpmconsole.ui.background import Progress
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.pages.keys.details import COLUMNS, facts, place, row
from tpmconsole.ui.pages.keys.reading import read
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.rows import Fact
from tpmconsole.ui.widgets.details import DetailPane
from tpmconsole.ui.widgets.list_table import ListTable

Key = KeyFile | PersistentKey

# The corners of the pane's border, and "Space: more" before the title.
TITLE_EDGES = 20
# So much of the folder's name is worth more than the room in the TPM, which the Overview shows.
SHORT_FOLDER = 12


class KeyListPage(Page):
    """One table for both kinds of key, and a detail pane.

    Attributes:
        answers: whether the TPM can use them, by place; only for keys that were checked.
        folder: the folder whose key files are listed; None for those of the identities.
        sub_folders: the number of sub-folders of that folder.
        deep: whether the key files below its sub-folders are listed, too.
        going_to: the identity whose key gets the cursor when the list has been read; empty for
            the key that has it.
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.answers: dict[str, KeyCheck] = {}
        self.folder: Path | None = None
        self.deep = False
        self.sub_folders = 0
        self.going_to = ""
        self._reading: Progress | None = None
        self._found: list[Key] = []
        self._at_once = True
        self._inside: KeyList | None = None

    def compose(self) -> ComposeResult:
        yield ListTable[Key](COLUMNS, 4, self._row, place)
        yield DetailPane()

    def focus_target(self) -> Widget:
        return self._table

    @property
    def _table(self) -> ListTable[Key]:
        return self.query_one(ListTable)

    def chosen(self) -> Key | None:
        """The key under the cursor."""
        return self._table.item

    def copies(self) -> Sequence[Copy]:
        key = self.chosen()
        if key is None:
            return ()
        found = [Copy("path" if isinstance(key, KeyFile) else "handle", place(key))]
        if key.public_pem:
            found.append(Copy("SHA-256", fingerprint(key.public_pem)))
            found.append(Copy("public key", key.public_pem))
        return (*found, Copy("error", key.reason)) if key.reason else found

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
        self._table.refresh_rows()
        if key is self._table.item:
            self._show_detail()

    # Reading the list

    def refresh_data(self) -> None:
        if self._reading is not None:
            self._reading.stop()
        self._reading = progress = Progress(self.app, self._more)
        self._found = []
        # The old list stays until the new one is read, so that it does not shrink and grow.
        self._at_once = not self._table.view.all
        paths = [self.folder] if self.folder else []
        self.job(
            "reading the keys",
            partial(read, self.board, paths, progress, deep=self.deep),
            partial(self._all_read, progress),
        )
        if self.folder is not None and not self.deep:
            self.job("", partial(sub_folders, self.folder), self._counted, lambda _: None)
        self.console.refresh_health(silent=True)  # the remaining attempts are shown before asking

    def _counted(self, count: int) -> None:
        self.sub_folders = count
        self.show_position()

    def _more(self, keys: list[Key]) -> None:
        self._found += keys
        if self._at_once:
            first = not self._table.view.all
            self._table.add(keys)
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
        found, self._found = self._found, []
        keys = [*found, *inside.persistent]
        name, self.going_to = self.going_to, ""
        changed = next((place(key) for key in keys if name and key.identity == name), None)
        self.present(keys, changed)

    # Showing it

    def present(self, keys: Sequence[Key], go_to: str | None = None) -> None:
        """Show these keys.

        Args:
            go_to: the place of the key for the cursor; None for the key that has it.
        """
        self._table.replace(keys, go_to)
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
        elif self._table.view.all:
            shown = []
        else:
            shown = [Fact("", "NONE", self.unless_kiosk("c makes the first key"))]
        self.query_one(DetailPane).present(shown)

    def list_title(self, shown: ListTable[Any]) -> str:
        """The folder, what is not read of it, and the room in the TPM besides."""
        folder, note = printable(str(self.folder)) if self.folder else "identities", ""
        if self.deep:
            note = " and sub-folders"
        elif self.sub_folders:
            plural = "s" if self.sub_folders > 1 else ""
            note = f" ({self.sub_folders} sub-folder{plural} not read: f)"
        room = self._inside.room if self._inside else None
        of_tpm = f", TPM: {room_words(room)}" if room else ""
        width = self.app.size.width - TITLE_EDGES
        if len(shown.title("", note)) + len(of_tpm) + SHORT_FOLDER > width:
            of_tpm = ""
        return shown.title(folder, note, width - len(of_tpm)) + of_tpm
