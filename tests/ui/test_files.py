"""Choosing a file or a place for one: where to begin, what is proposed, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.technician import console

from tpmconsole.errors import ConsoleError
from tpmconsole.settings import Settings
from tpmconsole.system.browse import existing, new_file
from tpmconsole.system.disks import Disks
from tpmconsole.ui.dialogs.files import place_rows
from tpmconsole.ui.widgets.table import Table


def test_a_user_without_a_home_begins_elsewhere(homeless: None) -> None:
    assert [row.name for row in place_rows(Disks())][1:] == ["/tmp/", "/"]


async def test_a_new_file_gets_its_name_in_a_folder_and_a_missing_folder_is_named(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    stick = tmp_path / "stick"
    stick.mkdir()
    async with console(settings(tcti="device:/nowhere")) as technician:
        await technician.press("5")
        await technician.sees("n goes to the next")
        await technician.press("w")
        await technician.sees("your home")
        await technician.press("t")
        await technician.sees("a folder for tpmconsole-report.txt")
        await technician.press("ctrl+u", *f"{stick}/lost/x/y.txt", "enter")
        await technician.sees("/lost; check the spelling")
        await technician.sees("/lost/x/y.txt")  # to be corrected
        await technician.press("ctrl+u", *str(stick), "enter")
        await technician.until((stick / "tpmconsole-report.txt").exists, "the report")
        await technician.idle()
        first = (stick / "tpmconsole-report.txt").stat().st_mtime_ns
        await technician.press("w")  # it opens there, and proposes the same
        await technician.sees("replaces this file")
        await technician.press("enter")
        await technician.sees("would be replaced")
        await technician.press("n", "w")
        await technician.sees("replaces this file")
        await technician.press("d")
        await technician.sees("your home")
        table = technician.app.screen.query_one(Table)
        table.move_cursor(row=[one[2] for one in table._texts].index("your home"))
        await technician.press("enter")
        await technician.sees("write it here")
        assert (stick / "tpmconsole-report.txt").stat().st_mtime_ns == first
        await technician.press("enter")
        await technician.until((tmp_path / "tpmconsole-report.txt").exists, "the report")
        await technician.idle()
        # Other dialogs open there as well; a folder that is gone is not waited for.
        stick.rename(tmp_path / "gone")
        technician.app.last_folder = stick
        await technician.press("2", "o")
        await technician.sees("the identities")
        await technician.press("escape")


def test_a_typed_path_names_what_is_missing(tmp_path: Path) -> None:
    assert new_file(tmp_path, "a.csr") == tmp_path / "a.csr"
    assert new_file(tmp_path / "b.csr", "a.csr") == tmp_path / "b.csr"
    with pytest.raises(ConsoleError, match=f"there is no {tmp_path}/x$"):
        new_file(tmp_path / "x" / "y" / "b.csr", "a.csr")
    with pytest.raises(ConsoleError, match=f"there is no {tmp_path}/x$"):
        existing(tmp_path / "x")
