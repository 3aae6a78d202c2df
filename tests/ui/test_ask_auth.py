"""Asking for passwords: the cost of a wrong one is shown first, the last needs a confirmation."""

from __future__ import annotations

from collections.abc import Callable

from support.swtpm import SwtpmAlone
from support.technician import Technician, console
from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.board.keys import create_key
from tpmconsole.settings import Settings
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import Algorithm

Make = Callable[..., Settings]


async def enter(technician: Technician, password: str) -> None:
    await technician.type(password)
    await technician.press("enter")


def failed_tries(technician: Technician) -> int:
    lockout = technician.app.board.status().lockout
    assert lockout is not None
    return lockout.failed_tries


async def test_a_wrong_password_is_told_with_the_tries_that_are_left(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        create_key(technician.app.board, "locked", Algorithm.EC_P256, Auth(b"secret"), 0x81000010)
        await technician.press("2")
        await technician.sees("0x81000010")
        await technician.press("u")
        await technician.sees("Password of locked")
        await technician.sees("attempts left: 3 of 3")
        await enter(technician, "ä" * 33)
        await technician.sees("66 bytes")
        assert "ä" not in technician.screen()
        await technician.press(*["backspace"] * 33, "enter")
        await technician.sees("Nothing typed")
        await enter(technician, "wrong")
        await technician.sees("attempts left: 2 of 3")
        await technician.sees("the TPM refused the password, and counted this")
        await enter(technician, "secret")
        await technician.sees("the signature is good")
        # Given up, the last word of the TPM stands.
        await technician.press("u")
        await technician.sees("Password of locked")
        await technician.press("escape")
        await technician.sees("no password was given")
        assert failed_tries(technician) == 1


async def test_the_last_try_is_asked_about_again_and_a_locked_tpm_asks_for_none(
    settings: Make,
) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        create_key(technician.app.board, "locked", Algorithm.EC_P256, Auth(b"secret"))
        await technician.press("2")
        await technician.sees("locked/key.pem")
        await technician.press("u")
        for left in (3, 2):
            await technician.sees(f"attempts left: {left} of 3")
            await enter(technician, "wrong")
        await technician.sees("attempts left: 1 of 3")
        await enter(technician, "wrong")
        await technician.sees("LAST ATTEMPT")
        await technician.press("enter", "x", "n")
        await technician.idle()
        assert failed_tries(technician) == 2
        await technician.press("u")
        await technician.sees("attempts left: 1 of 3")
        await enter(technician, "secret")
        await technician.sees("LAST ATTEMPT")
        await technician.press("y")
        await technician.sees("the signature is good")
        await technician.press("u")
        await technician.sees("attempts left: 1 of 3")
        await enter(technician, "wrong")
        await technician.sees("LAST ATTEMPT")
        await technician.press("y")
        await technician.sees("the TPM now refuses even the right password")
        await technician.press("enter", "1")
        await technician.sees("LOCKED")
        await technician.press("l")
        await technician.sees("all attempts back")
        await technician.press("n")
        await technician.idle()
        await technician.press("l")
        await technician.sees("Forget all wrong passwords?")
        await technician.press("y")
        await technician.sees("0 of 3 attempts used")
        assert len(technician.app.screen_stack) == 1


async def test_the_lockout_password_is_asked_for_with_its_danger(
    settings: Make, alone: SwtpmAlone
) -> None:
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.LOCKOUT, "lockout")
    async with console(settings(tcti=alone.connection.tcti, tcti_source="--tcti")) as technician:
        await technician.idle()
        board = technician.app.board
        identity = create_key(board, "locked", Algorithm.EC_P256, Auth(b"secret"))
        board.tpm.check_key(board.source(identity), Auth(b"wrong"))
        await technician.press("r")
        await technician.sees("1 of 3 attempts used")
        await technician.press("l")
        await technician.sees("After one wrong lockout password")
        await technician.press("y")
        await technician.sees("Lockout password of the TPM")
        await technician.sees("after ONE wrong password the TPM refuses")
        await enter(technician, "lockout")
        await technician.sees("0 of 3 attempts used")
        board.tpm.check_key(board.source(identity), Auth(b"wrong"))
        await technician.press("r")
        await technician.sees("1 of 3 attempts used")
        await technician.press("l")
        await technician.sees("Forget all wrong passwords?")
        await technician.press("y")
        await technician.sees("Lockout password of the TPM")
        await enter(technician, "wrong")
        await technician.sees("wait 17 min to try again")
