"""Terminals of every size: nothing on the screen may end the console."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from support.technician import SIZE, Technician, console

from tpmconsole.board.manual import read_manual
from tpmconsole.errors import ConsoleError
from tpmconsole.session.events import EventReader
from tpmconsole.settings import Settings
from tpmconsole.tpm.auth import AttemptCost
from tpmconsole.ui.command import Command
from tpmconsole.ui.dialogs.dialog import Dialog
from tpmconsole.ui.dialogs.events import EventsDialog
from tpmconsole.ui.dialogs.files import FilesSheet
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.dialogs.manual import HelpDialog, ManualSheet, SectionSheet
from tpmconsole.ui.dialogs.menu import MenuDialog, Option
from tpmconsole.ui.dialogs.message import ConfirmDialog, ErrorDialog, ReviewDialog, TextDialog
from tpmconsole.ui.dialogs.palette import Found, PaletteDialog
from tpmconsole.ui.dialogs.password import PasswordDialog, Question
from tpmconsole.ui.dialogs.paste import PasteDialog
from tpmconsole.ui.dialogs.pick import PickDialog
from tpmconsole.ui.dialogs.qr import QrSheet, qr_code
from tpmconsole.ui.dialogs.sheet import PemSheet, Sheet
from tpmconsole.ui.pages.names import PAGES
from tpmconsole.ui.pages.provision.trust_sheet import TrustSheet
from tpmconsole.ui.rows import Fact, Heading
from tpmconsole.x509.judge import CertificateInfo

Make = Callable[..., Settings]

WIDEST, TALLEST = 500, 200
EDGES = ((1, 1), (2, 24), (9, 24), (19, 24), (1, TALLEST), (WIDEST, 1), (WIDEST, TALLEST))
TEXT = "word 世界 Gerät " * 60
FACTS: list[Fact | Heading] = [
    Heading("A heading"),
    Fact("Key", "FAILED", TEXT),
    Fact("x" * 60, "", "y" * 300),
]
FIELDS = [Field("a", "A", TEXT, TEXT), Field("b", "B", choices=("one", "two" * 30))]
NOW = datetime(2026, 11, 28, tzinfo=UTC)
ANCHOR = CertificateInfo(TEXT, TEXT, NOW, NOW, "1", "ab" * 32, (), ca=True)
EVENTS = [{"time": "2026-11-28T12:00:00Z", "event": "error", "text": TEXT}] * 30


def dialogs(folder: Path) -> dict[type[Dialog[Any]], Dialog[Any]]:
    """One dialog of each kind, with more content than fits."""
    code = qr_code(b"x" * 600)
    assert code is not None
    made: list[Dialog[Any]] = [
        ErrorDialog(ConsoleError("Title " * 20, TEXT, TEXT)),
        ConfirmDialog("Title", TEXT, TEXT),
        TextDialog("Title", TEXT, FACTS),
        ReviewDialog("Title", FACTS, [("y", "Yes")]),
        FormDialog("Title", FIELDS, notice=TEXT),
        MenuDialog("Title", [Option(str(one), "label", TEXT) for one in range(9)], TEXT),
        PasswordDialog(Question("Title", AttemptCost("key"), TEXT)),
        PasteDialog("Title"),
        FilesSheet("Title"),
        PickDialog("Title", ["name"] * 40, "name"),
        PemSheet("Title", TEXT, TEXT),
        QrSheet("Title", code, blocks=False),
        EventsDialog("s1", EventReader(folder), EVENTS),
        HelpDialog("Help", "", FACTS),
        ManualSheet(),
        SectionSheet(read_manual(), 12, 5),
        PaletteDialog([Found(Command("c", "Create", TEXT, lambda: None), 1, "Keys")] * 30),
        TrustSheet("gateway", [ANCHOR] * 30),
    ]
    return {type(one): one for one in made}


def kinds(base: type[Dialog[Any]] = Dialog) -> set[type[Dialog[Any]]]:
    """Every dialog there is."""
    below = {one for one in base.__subclasses__() if one.__module__.startswith("tpmconsole.")}
    return below.union(*map(kinds, below)) - {Sheet}


def sizes() -> Iterator[tuple[int, int]]:
    """Random sizes, the same in every run; most are small, because small ones cause crashes."""
    chance = random.Random(20)
    while True:
        yield round(WIDEST ** chance.random()), round(TALLEST ** chance.random())


async def test_no_size_ends_the_console(settings: Make, tmp_path: Path) -> None:
    """Every page, and every dialog over one, in terminals from 1x1 to 500x200."""
    shown = dialogs(tmp_path)
    assert set(shown) == kinds()
    async with console(settings(tcti="device:/nowhere")) as technician:
        await technician.idle()
        app, chance = technician.app, sizes()
        for page in range(len(PAGES)):
            await app.main.open_page(page)
            await resize(technician, *islice(chance, 2))
        for dialog in shown.values():
            app.push_screen(dialog)
            await resize(technician, *islice(chance, 2), SIZE)
            await technician.until(lambda: app.screen is dialog, "the dialog again")  # noqa: B023
            app.pop_screen()
        await technician.until(app.uncovered, "the page alone")
        assert "tpmconsole" in technician.screen()


@pytest.mark.parametrize("kiosk", [False, True])
async def test_no_width_is_too_small_for_the_bars(settings: Make, kiosk: bool) -> None:
    async with console(settings(tcti="device:/nowhere", kiosk=kiosk)) as technician:
        await resize(technician, *EDGES)


async def resize(technician: Technician, *wanted: tuple[int, int]) -> None:
    """Change the size of the terminal, and repaint everything."""
    for size in wanted:
        await technician.pilot.resize_terminal(*size)
        technician.screen()
        assert technician.app.failure is None, size
