"""Asking where to write a file, and before replacing one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tpmconsole.ui.dialogs.files import FilesSheet
from tpmconsole.ui.dialogs.message import ConfirmDialog
from tpmconsole.ui.pages.page import Page

Again = Callable[[], None]


def ask_where(
    page: Page, title: str, name: str, write: Callable[[Path, Again], None], typed: str = ""
) -> None:
    """Ask in which folder to write a file.

    Args:
        name: the name that is proposed.
        write: called with the path, and with what to call after an error: it asks again.
        typed: a path that did not work, to correct.
    """

    def chosen(path: Path | None) -> None:
        if path is not None:
            again = partial(ask_where, page, title, name, write, str(path))
            ask_replace(page, path, lambda: write(path, again))

    page.app.push_screen(FilesSheet(title, typed, new=name), chosen)


def ask_replace(page: Page, path: Path, write: Callable[[], None]) -> None:
    """Write a file; ask before replacing one."""

    def found(there: Any) -> None:
        if not there:
            write()
            return
        page.app.push_screen(
            ConfirmDialog("File exists", f"{path} would be replaced", "Replace it?"),
            lambda yes: write() if yes else None,
        )

    page.job("", path.exists, found)
