"""Page 2 with key files of tpm2-tools, whose flag about a password may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.swtpm import SwtpmAlone
from support.technician import Technician, console
from support.tools import PARENT, STORAGE, KeyMaker, needs_tools

from tpmconsole.settings import Settings

Make = Callable[..., Settings]
pytestmark = needs_tools


def failed_tries(technician: Technician) -> int:
    lockout = technician.app.board.status().lockout
    assert lockout is not None
    return lockout.failed_tries


async def opened(technician: Technician, folder: Path) -> None:
    """Page 2 with a folder's key files."""
    await technician.idle()
    await technician.press("2", "o")
    await technician.sees("the identities")
    await technician.press("t", "ctrl+u", *str(folder), "enter")
    await technician.sees("1 of")
    await technician.idle()


async def test_trying_all_costs_no_attempt(
    settings: Make, alone: SwtpmAlone, tmp_path: Path
) -> None:
    folder = KeyMaker(alone.connection, tmp_path).four_inverted()
    async with console(settings(tcti=alone.connection.tcti, tcti_source="--tcti")) as technician:
        await opened(technician, folder)
        await technician.sees("d.pem")
        for _ in range(2):
            await technician.press("a")
            await technician.sees("5 keys checked")
            await technician.idle()
            assert failed_tries(technician) == 0
        await technician.sees("may have a password")
        # A single key is tried as its file says, and fails at most once.
        await technician.press("u")
        await technician.sees("although its file says that it has none")
        await technician.sees("attempts left: 2 of 3")
        await technician.type("abc")
        await technician.press("enter")
        await technician.sees("the signature is good")
        assert failed_tries(technician) == 1


async def test_a_password_is_asked_for_only_where_it_may_help(
    settings: Make, alone: SwtpmAlone, tmp_path: Path
) -> None:
    maker = KeyMaker(alone.connection, tmp_path)
    maker.persist_primary(PARENT, "-a", f"{STORAGE}|noda")
    which = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt|sign"
    maker.key("aes.pem", "-G", "aes128cfb", "-p", "abc", attributes=which)
    maker.key("plain.pem")
    async with console(settings(tcti=alone.connection.tcti, tcti_source="--tcti")) as technician:
        await opened(technician, tmp_path)
        await technician.sees("plain.pem")
        await technician.press("u")
        await technician.sees("has no public key to verify with")
        await technician.idle()
        assert len(technician.app.screen_stack) == 1
        # Its file says that it has a password, but it does not.
        await technician.press("down", "u")
        await technician.sees("the key's file says that it has a password")
        await technician.sees("If there is none, press Enter twice.")
        await technician.press("enter", "enter")
        await technician.sees("the signature is good")
        assert failed_tries(technician) == 0


async def test_a_handle_that_cannot_be_read_is_a_row_with_its_reason(
    settings: Make, alone: SwtpmAlone, tmp_path: Path
) -> None:
    maker = KeyMaker(alone.connection, tmp_path)
    maker.persist_primary("0x81000001")
    maker.persist_primary("0x81800001", hierarchy="p")
    maker.run("tpm2_hierarchycontrol", "-C", "p", "phEnable", "clear")
    async with console(settings(tcti=alone.connection.tcti, tcti_source="--tcti")) as technician:
        await technician.sees("2 persistent keys, room for")
        await technician.press("2")
        await technician.sees("0x81800001")
        await technician.press("down")
        await technician.sees("the platform hierarchy is switched off")
        await technician.press("a")
        await technician.sees("2 keys checked")
        await technician.press("enter")
        await technician.sees("nothing known")
        await technician.press("escape", "e")
        await technician.sees("belongs to the platform")


async def test_a_protection_that_is_off_is_told_before_a_password_is_chosen(
    settings: Make, alone: SwtpmAlone, tmp_path: Path
) -> None:
    maker = KeyMaker(alone.connection, tmp_path)
    maker.run("tpm2_dictionarylockout", "-s", "-n", "1", "-t", "0", "-l", "0")
    off = "protection against guessing is switched off"
    async with console(settings(tcti=alone.connection.tcti, tcti_source="--tcti")) as technician:
        await technician.sees("Lock-out    OFF")
        await technician.sees(off)
        await technician.press("2", "c")
        await technician.sees(f"The TPM's {off}")
        await technician.type("gw")
        await technician.press("enter", "enter", *"abc", "enter", *"abc", "enter", "enter", "enter")
        await technician.sees("gw/key.pem")
        await technician.press("u")
        await technician.sees(f"The TPM's {off}")
        await technician.type("wrong")
        await technician.press("enter")
        await technician.sees("did not count it")
        await technician.type("abc")
        await technician.press("enter")
        await technician.sees("the signature is good")
