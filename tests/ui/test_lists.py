"""Every list filters, sorts and jumps by the same keys, and the cursor stays on its item."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.technician import Technician, console

from tpmconsole.board.keys import create_key
from tpmconsole.settings import Settings
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.model import Algorithm
from tpmconsole.ui.dialogs.files import FilesSheet
from tpmconsole.ui.widgets.list_table import ListTable

Make = Callable[..., Settings]
NAMES = ("pump-1", "gateway", "pump-10", "pump-2")


def list_of(technician: Technician) -> ListTable[Any]:
    """The list on the current screen."""
    screen = technician.app.screen
    shown = screen.query(ListTable) if screen is not technician.app.main else None
    return shown.first() if shown else technician.app.main.page.query_one(ListTable)


def under_cursor(technician: Technician) -> str:
    shown = list_of(technician)
    return str(shown.view.row(shown.item)[0])


async def make_identities(technician: Technician) -> None:
    for name in NAMES:
        await asyncio.to_thread(create_key, technician.app.board, name, Algorithm.EC_P256)


async def test_the_cursor_stays_on_its_identity(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await make_identities(technician)
        await technician.press("3")
        await technician.sees("1 of 4")
        await technician.press("j", "j")
        here = under_cursor(technician)
        assert here == "pump-2"
        await technician.press("s")
        await technician.sees("by identity")
        await technician.press("s")
        await technician.sees("2 of 4, by identity, reversed")
        assert under_cursor(technician) == here
        await technician.press("slash", *"gate")
        await technician.sees("/gate_, 1 of 1 (4 in all), by identity, reversed")
        assert under_cursor(technician) == "gateway"
        await technician.press("escape")  # nothing was chosen: back to where it was
        assert under_cursor(technician) == here
        await technician.press("slash", *"pump-1", "enter", "G")
        assert under_cursor(technician) == "pump-1"
        await technician.press("escape")
        await technician.sees("3 of 4")
        assert under_cursor(technician) == "pump-1"
        await technician.press("g")
        assert under_cursor(technician) == "pump-10"
        await technician.press("k", "end", "k")
        assert under_cursor(technician) == "pump-1"
        # A list that is read again, and has one more above, keeps it as well.
        await asyncio.to_thread(create_key, technician.app.board, "z", Algorithm.EC_P256)
        await technician.sees("4 of 5")
        assert under_cursor(technician) == "pump-1"
        await technician.press("slash", *"nothing like it")
        await technician.sees("no row has 'nothing like it'; Esc shows all")
        await technician.press("backspace", "escape")
        assert under_cursor(technician) == "pump-1"


async def test_sub_folders_are_named_and_can_be_read(settings: Make, tmp_path: Path) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        key = keyfile.parse(technician.app.board.tpm.create(Algorithm.EC_P256))
        folder = tmp_path / "keys"
        for path in ("a.pem", "north/b.pem", "north/deep/c.pem", "south/d.pem"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(replace(key, description=path).to_pem())
        await technician.press("2", "o")
        await technician.sees("the identities")
        await technician.press("t", "ctrl+u", *str(folder), "enter")
        await technician.sees("keys (2 sub-folders not read: f)")
        assert list_of(technician).row_count == 1
        await technician.press("f")
        await technician.sees("keys and sub-folders")
        await technician.sees("north/deep/c.pem")
        assert list_of(technician).row_count == 4


async def test_probes_filter_and_sort(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await technician.press("5")
        await technician.idle()
        shown = list_of(technician)
        probes = shown.row_count
        await technician.press("slash", *"self-test", "enter")
        await technician.sees(f"/self-test, 1 of 1 ({probes} in all)")
        await technician.press("escape", "s", "s")
        await technician.sees("by probe, reversed")
        assert [name for name, *_ in map(shown.view.row, shown.view.shown)] == sorted(
            (one.name for one in shown.view.all), reverse=True
        )


@pytest.mark.parametrize("down", ["j", "down"])
async def test_files_filter_and_sort(settings: Make, tmp_path: Path, down: str) -> None:
    for name in ("ca.pem", "gateway.crt", "notes.txt"):
        (tmp_path / name).write_text(name)
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        chosen: list[Path | None] = []
        sheet = FilesSheet("A file")
        technician.app.push_screen(sheet, chosen.append)
        await technician.idle()
        sheet._open(tmp_path)
        await technician.sees("gateway.crt")
        await technician.press("slash", *"gate", "enter")
        await technician.sees(f"{tmp_path.name[-8:]}, /gate, 1 of 1 (4 in all)")
        await technician.press("escape", "s")
        await technician.sees("by name")
        await technician.press("g", down, "enter")
        assert chosen == [tmp_path / "ca.pem"]
