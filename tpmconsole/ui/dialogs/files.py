"""A dialog to choose a file, a folder, or a place for a new file.

It opens in the folder of the last file, else with removable disks and the usual folders.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tpmconsole.board.phrases import disks_words, size_words
from tpmconsole.errors import ConsoleError
from tpmconsole.inputs import home_folder, user_path
from tpmconsole.system.browse import Listing, existing, list_folder, new_file
from tpmconsole.system.disks import Disks, disks_in_time
from tpmconsole.text import printable
from tpmconsole.ui.background import Job
from tpmconsole.ui.console import console_of
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.dialogs.sheet import Sheet
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.widgets.list_table import ListTable
from tpmconsole.ui.widgets.table import Column, Table

if TYPE_CHECKING:
    from tpmconsole.ui.console import Console

COLUMNS = (Column("name", 40, 90), Column("size", 8), Column("time", 26))
NO_PLACES: Mapping[Path, str] = {}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the list.

    Attributes:
        path: what Enter opens or chooses; None for the list of places.
        folder: whether it is a folder.
        name: as shown.
        size: as shown.
        about: what to know about it.
    """

    path: Path | None
    folder: bool
    name: str
    size: str = ""
    about: str = ""


class FilesSheet(Sheet[Path]):
    """Returns a path. Folders are read by jobs, so the screen never waits.

    Args:
        title: what the file is for.
        typed: a path that did not work, to correct.
        new: the proposed name of a file to write; empty if a file that exists is chosen.
        folders: more places to begin at, if a folder is chosen; None if a file is.
    """

    def __init__(
        self,
        title: str,
        typed: str = "",
        *,
        new: str = "",
        folders: Mapping[Path, str] | None = None,
    ) -> None:
        super().__init__(title)
        self._typed = typed
        self._new = new
        self._more_places = folders
        self._about = ""
        self._folder: Path | None = None
        self._places: set[Path | None] = set()
        self._asked = 0

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (
            ("enter", "Choose"),
            ("backspace", "Up"),
            ("d", "Disks"),
            ("t", "Type its path"),
            ("slash", "Filter"),
            ("s", "Sort"),
            ("escape", "Cancel"),
        )

    def copies(self) -> Sequence[Copy]:
        row = self._table.item if self.is_mounted else None
        return (Copy("path", str(row.path)),) if row is not None and row.path else ()

    def body(self) -> ComposeResult:
        yield Static("", classes="sheet-place")
        yield ListTable(COLUMNS, -1, _texts, lambda row: (row.path, row.name), header=False)

    def on_mount(self) -> None:
        self._table.focus()
        self._open(self._app_console.last_folder, or_places=True)
        if self._typed:
            self._type(self._typed)

    @property
    def _table(self) -> ListTable[Row]:
        return self.query_one(ListTable)

    def on_table_moved(self, event: Table.Moved) -> None:
        event.stop()
        self._show_title()

    def on_list_table_arranged(self, event: ListTable.Arranged) -> None:
        event.stop()
        self._show_title()

    def on_table_pressed(self, event: Table.Pressed) -> None:
        event.stop()
        row = self._table.item
        if row is None:
            return
        if row.folder or row.path is None:
            self._open(row.path)
        else:
            self._choose(row.path)

    def pressed(self, event: events.Key) -> None:
        if event.key in ("backspace", "left"):
            event.stop()
            self._up()
        elif event.key == "d":
            event.stop()
            self._open(None)
        elif event.key == "t":
            event.stop()
            self._type(f"{str(self._folder).rstrip('/')}/" if self._folder else "~/")

    def _up(self) -> None:
        if self._folder is not None:
            top = self._folder in self._places or self._folder.parent == self._folder
            self._open(None if top else self._folder.parent)

    def _choose(self, path: Path) -> None:
        self._app_console.last_folder = path if self._more_places is not None else path.parent
        self.dismiss(path)

    def _type(self, start: str, notice: str = "") -> None:
        def go(values: Any) -> None:
            if values:
                path = _typed_path(values["path"])
                job = Job("", partial(self._found, path), self._take, partial(failed, str(path)))
                self._app_console.start_job(job)

        def failed(path: str, error: ConsoleError) -> None:
            if self.is_attached:
                self._type(path, f"{error.cause}; {say(error.remedy)}")

        def check(values: Any) -> None:
            _typed_path(values["path"])

        hint = f"a file, or a folder for {self._new}" if self._new else "of a file or a folder"
        field = Field("path", "Path", start, hint, check=check)
        self.app.push_screen(FormDialog("Type its path", [field], notice=notice), go)

    def _found(self, path: Path) -> tuple[Path, bool]:
        """What a typed path means, and whether it is a folder to open; runs in a thread."""
        if self._new:
            return new_file(path, self._new), False
        return existing(path), self._more_places is None and path.is_dir()

    def _take(self, found: tuple[Path, bool]) -> None:
        if self.is_attached:
            path, to_open = found
            if to_open:
                self._open(path)
            else:
                self._choose(path)

    # The list

    @property
    def _app_console(self) -> Console:
        return console_of(self)

    def _open(self, folder: Path | None, *, or_places: bool = False) -> None:
        """Show a folder, or the list of places.

        Args:
            or_places: shown if the folder cannot be read, such as on a disk that is gone.
        """
        self._asked += 1
        asked = self._asked

        def done(found: Any) -> None:
            if self.is_attached and asked == self._asked:  # else a newer list is being read
                self._listed(folder, *found)

        def failed(error: ConsoleError) -> None:
            if self.is_attached and asked == self._asked:
                if or_places:
                    self._open(None)
                else:
                    self._say(f"{error.cause}; {say(error.remedy)}", "bold $error")

        self._app_console.start_job(Job("", lambda: self._look_into(folder), done, failed))

    def _look_into(self, folder: Path | None) -> tuple[list[Row], str]:
        """Return the rows and the line above them; runs in a thread."""
        if folder is None:
            disks = disks_in_time()
            more = self._more_places or {}
            return place_rows(disks, more), disks_words(disks) or "Where is it?"
        rows = folder_rows(folder, list_folder(folder))
        if self._more_places is not None:
            rows.insert(0, Row(folder, False, "./", "", "this folder"))
        elif self._new:
            rows.insert(0, _new_row(folder / self._new))
        return rows, printable(str(folder))

    def _listed(self, folder: Path | None, rows: list[Row], about: str) -> None:
        before, self._folder, self._about = self._folder, folder, about
        if folder is None:
            self._places = {row.path for row in rows}
        table = self._table
        table.show_all()
        # After going up, the cursor is on the folder that was left.
        start = rows[int(rows[0].name == "../" and len(rows) > 1)]
        left = (row for row in rows if row.folder and row.name != "../" and row.path == before)
        cursor = next(left, start) if before else start
        table.replace(rows, (cursor.path, cursor.name))
        self._show_title()

    def _show_title(self) -> None:
        """Which folder, and what is shown of it."""
        shown = self._table
        told = shown.narrowed or shown.view.order
        self._say(shown.title(self._about, width=self.app.size.width) if told else self._about)

    def _say(self, text: str, style: str = "") -> None:
        self.query_one(".sheet-place", Static).update(Content.styled(text, style))


def _texts(row: Row) -> tuple[str, ...]:
    return row.name, row.size, row.about


def _typed_path(text: str) -> Path:
    """Read a typed path; an absolute path after the folder that was filled in replaces it."""
    _, begins, rest = text.rpartition("//")
    return user_path(f"/{rest}" if begins else text)


def _new_row(path: Path) -> Row:
    about = "replaces this file" if os.path.lexists(path) else "write it here"
    return Row(path, False, printable(path.name), "", about)


def place_rows(disks: Disks, more: Mapping[Path, str] = NO_PLACES) -> list[Row]:
    """The rows of the list of places.

    Args:
        more: places besides the usual ones, and what each is.
    """
    rows = [
        Row(one.path, True, f"{printable(str(one.path))}/", "disk", f"{one.device} {one.model}")
        for one in disks.mounted
    ]
    about = dict(more)
    for find, why in ((home_folder, "your home"), (Path.cwd, "where you started")):
        with suppress(RuntimeError, OSError):  # no home folder; the current folder was removed
            about[find()] = why
    about[Path("/tmp")] = ""  # noqa: S108
    rows += [
        Row(path, True, f"{str(path).rstrip('/')}/", "folder", why) for path, why in about.items()
    ]
    return [*rows, Row(Path("/"), True, "/", "folder", "everything")]


def folder_rows(folder: Path, listing: Listing) -> list[Row]:
    """The rows for the entries of a folder, with its parent first."""
    rows = [Row(None if folder.parent == folder else folder.parent, True, "../", "", "up")]
    for one in listing.entries:
        name = printable(one.path.name)
        size = "" if one.folder else size_words(one.size)
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.modified))
        rows.append(Row(one.path, one.folder, f"{name}/" if one.folder else name, size, when))
    if listing.left_out:
        rows.append(Row(folder, True, f"... and {listing.left_out} more", "", "t: type its path"))
    return rows
