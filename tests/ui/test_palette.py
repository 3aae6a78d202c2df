"""Finding commands by words, help in every dialog, and copying what is under the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from support.technician import Technician, console

from tpmconsole.board.certificates import demo_sign
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.errors import ConsoleError
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm
from tpmconsole.ui.dialogs.files import FilesSheet
from tpmconsole.ui.dialogs.paste import PasteDialog
from tpmconsole.x509.request_spec import RequestSpec

Make = Callable[..., Settings]


async def make_ready(technician: Technician, name: str) -> None:
    board = technician.app.board
    await asyncio.to_thread(create_key, board, name, Algorithm.EC_P256)
    spec = RequestSpec(f"CN={name}", ("dns:localhost",), "both")
    await asyncio.to_thread(make_request, board, name, spec)
    await asyncio.to_thread(demo_sign, board, name)


async def test_a_command_of_another_page_is_found_by_words_and_done(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await technician.press("colon")
        await technician.sees("Commands")
        await technician.type("write report")
        await technician.sees("/write report_, 1 of 1")
        await technician.press("enter")
        await technician.sees("[5 Doctor]")
        await technician.idle()
        await technician.press("colon")
        await technician.type("folder key")
        await technician.press("enter")
        await technician.sees("List the keys of a folder")
        await technician.press("escape", "colon")
        await technician.type("nothing that is a command")
        await technician.sees("0 of 0")
        await technician.press("enter", "escape", "escape")
        await technician.until(technician.app.uncovered, "the palette closed")


async def test_every_command_is_in_the_palette(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await technician.press("colon")
        await technician.sees("Commands")
        main = technician.app.main
        offered = {(one.page, one.command.key) for one in technician.app.screen._commands}  # type: ignore[attr-defined]
        for index in range(6):
            for command in main.commands_of(index):
                assert (index, command.key) in offered
        for command in main.commands():
            assert (None, command.key) in offered


async def test_help_in_dialogs(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await technician.press("2", "c")
        await technician.sees("New key in the TPM")
        await technician.press("question_mark")  # the field is empty
        await technician.sees("Fields")
        await technician.press("question_mark", "escape")
        await technician.type("a?")
        await technician.until(lambda: "a?" in technician.screen(), "the question mark as typed")
        await technician.press("f1")
        await technician.sees("Fields")
        await technician.press("escape", "escape")
        technician.app.push_screen(FilesSheet("A file"))
        await technician.press("question_mark")
        await technician.sees("In the list")
        await technician.press("escape", "escape")
        technician.app.push_screen(PasteDialog("A certificate"))
        await technician.press("question_mark", "f1")
        await technician.sees("Start again")
        await technician.press("escape", "escape")
        technician.app.show_error(ConsoleError("Title", "cause", "remedy"))
        await technician.press("question_mark")
        await technician.sees("copy it to your terminal's clipboard")


async def test_what_is_under_the_cursor_is_copied(
    settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("x")
    async with console(settings(simulate=True)) as technician:
        copied: list[str] = []
        monkeypatch.setattr(technician.app, "copy_to_clipboard", copied.append)
        await technician.idle()
        await make_ready(technician, "gateway")
        await technician.press("2")
        await technician.sees("gateway/key.pem")
        await technician.press("y")
        await technician.sees("SHA-256")
        await technician.press("3")
        await technician.sees("public key: sent to your terminal's clipboard")
        await technician.press("3")
        await technician.sees("READY")
        await technician.press("y")
        await technician.sees("certificate")
        await technician.press("4")
        assert copied[0].startswith("-----BEGIN PUBLIC KEY-----\n")
        assert copied[1].startswith("-----BEGIN CERTIFICATE-----\n")
        technician.app.show_error(ConsoleError("Title", "cause", "remedy"))
        await technician.press("y")
        await technician.sees("error: sent to your terminal's clipboard")
        assert copied[2] == "Title\ncause\nTry: remedy"
        await technician.press("escape", "t")
        await technician.sees("gateway trusts")
        await technician.press("y", "1")
        assert len(copied[3]) == 64
        await technician.press("escape")
        sheet = FilesSheet("A file")
        technician.app.push_screen(sheet)
        await technician.idle()
        sheet._open(tmp_path)
        await technician.sees("ca.pem")
        await technician.press("G", "y")
        assert copied[4] == str(tmp_path / "ca.pem")
