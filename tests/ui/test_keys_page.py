"""Page 2 by keyboard: create, import, move and remove keys, with their passwords."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.key_answers import tries
from support.swtpm import SwtpmAlone
from support.technician import Technician, console
from support.tpm_tools import key_below, tools
from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.board.keys import create_key, key_files, persistent_keys
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm, KeyFile

Make = Callable[..., Settings]


@pytest.fixture
def owned(settings: Make, alone: SwtpmAlone) -> Settings:
    """Settings for a TPM whose owner hierarchy has the password ``owner``."""
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, "owner")
    return settings(tcti=alone.connection.tcti, tcti_source="--tcti")


def check_still_there(path: Path) -> None:
    assert path.exists()


def key_of(technician: Technician, name: str) -> KeyFile:
    (found,) = (one for one in key_files(technician.app.board) if one.identity == name)
    return found


async def test_the_owner_s_password_is_asked_for_and_what_evicting_breaks_is_named(
    owned: Settings,
) -> None:
    async with console(owned) as technician:
        await technician.press("2", "c")
        await technician.sees("New key in the TPM")
        # Enter skips fields that have no meaning without a password.
        await technician.type("pump")
        await technician.press("enter", "enter", "enter", "enter")
        await technician.sees("Password of the TPM's hierarchy")
        await technician.sees("Wrong passwords do not count")
        await technician.press("enter")
        await technician.sees("Type it")
        await technician.type("wrong")
        await technician.press("enter")
        await technician.sees("the TPM refused the password of its owner hierarchy")
        await technician.type("owner")
        await technician.press("enter")
        await technician.sees("pump/key.pem")
        await technician.press("p")
        await technician.sees("room for")
        await technician.press("enter")
        await technician.sees("cannot be undone")
        await technician.press("y")
        await technician.sees("Password of the TPM's hierarchy")
        await technician.type("owner")
        await technician.press("enter")
        await technician.sees("pump is now at 0x81000010")
        await technician.sees("signing key")
        await technician.press("e")
        await technician.sees("identity pump: its key")
        await technician.press("n", "e")
        await technician.sees("Remove it from the TPM?")
        await technician.press("y")
        await technician.sees("Password of the TPM's hierarchy")
        await technician.press("escape")
        await technician.sees("no password was given")
        assert persistent_keys(technician.app.board)


async def test_the_cursor_follows_the_key_that_was_changed(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        for name in ("a", "c", "d"):
            await asyncio.to_thread(create_key, technician.app.board, name, Algorithm.EC_P256)
        await technician.press("2")
        await technician.sees("1 of 3")
        await technician.press("p")
        await technician.sees("room for")
        await technician.press("enter")
        await technician.sees("cannot be undone")
        await technician.press("y")
        await technician.sees("3 of 3")  # handles are last
        await technician.sees("signing key")
        await technician.press("c")
        await technician.sees("New key in the TPM")
        await technician.type("b")
        await technician.press("enter", "enter", "enter", "enter")
        await technician.sees("1 of 4")
        await technician.press("end")
        await technician.sees("4 of 4")
        await asyncio.to_thread(create_key, technician.app.board, "bb", Algorithm.EC_P256)
        await technician.press("r")  # the list grows above it
        await technician.sees("5 of 5")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A private key made by OpenSSL, encrypted with ``right``."""
    source = tmp_path / "elsewhere.pem"
    command = ("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", str(source))
    secret = ("-aes256", "-pass", "pass:right")
    subprocess.run(["/usr/bin/openssl", *command, *secret], check=True, capture_output=True)
    return source


async def test_a_key_from_a_file_is_imported_with_its_warning_and_passphrase(
    settings: Make, elsewhere: Path
) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await technician.press("2", "i", "t", "ctrl+u", *str(elsewhere), "enter")
        await technician.sees("existed outside the TPM")
        await technician.type("guest")
        await technician.press("enter", "enter", *"secret", "enter", *"secrets", "enter")
        await technician.sees("the two passwords differ")
        await technician.press(*"secret", "enter", *"secret", "enter")
        await technician.sees("can guess forever")
        await technician.press("space", "enter", "enter")
        await technician.sees("Passphrase of")
        await technician.type("wrong")
        await technician.press("enter")
        await technician.sees("does not decrypt with this passphrase")
        await technician.type("right")
        await technician.press("enter")
        await technician.sees("the source file still exists")
        await technician.press("escape")
        made = key_of(technician, "guest")
        assert (made.origin, made.auth) == ("imported", "password")
        assert made.counts_towards_lockout is False
    check_still_there(elsewhere)


async def test_another_tool_s_key_and_one_at_a_handle_are_adopted(
    settings: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        board = technician.app.board
        tool = tools(board.tpm, folder)
        key_below(tool, "theirs", "-C", "o", "-G", "ecc", password="pw")
        board.tpm.persist(board.tpm.create(Algorithm.EC_P256), 0x81020001)
        await technician.press("2", "o", "t", "ctrl+u", *str(folder), "enter")
        await technician.sees("theirs.pem")
        await technician.idle()
        await technician.press("u")
        await technician.until(
            lambda: "Password of" in technician.screen() or "PARENT" in technician.screen(),
            "an answer",
        )
        if "Password of" in technician.screen():
            await technician.press(*"pw", "enter")
        await technician.sees("PARENT")
        await technician.sees("page 2 makes an identity of it")
        await technician.press("d")
        await technician.sees("Adopt theirs.pem")
        await technician.press(*"theirs", "enter")
        await technician.sees("Password of theirs.pem")
        await technician.press(*"pw", "enter")
        await technician.sees("theirs: key adopted")
        await technician.press("down")
        await technician.press("d")
        await technician.sees("Adopt 0x81020001")
        await technician.press(*"maker", "enter")
        await technician.sees("maker: key adopted")
        found = {one.name: (one.origin, one.handle) for one in board.identities.all()}
        assert found == {"theirs": ("adopted", None), "maker": ("adopted", 0x81020001)}
        await technician.idle()
        assert tries(board.tpm) == 0


async def test_a_handle_that_is_free_is_proposed(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        board = technician.app.board
        create_key(board, "inside", Algorithm.EC_P256, handle=0x81000010)
        create_key(board, "pump", Algorithm.EC_P256)
        await technician.press("2")
        await technician.sees("pump/key.pem")
        await technician.idle()
        await technician.press("p")
        await technician.sees("0x81000011")
