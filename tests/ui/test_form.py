"""Forms: passwords are not visible while they are typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.technician import Technician, console

from tpmconsole.board.keys import list_keys
from tpmconsole.settings import Settings

Make = Callable[..., Settings]
REFUSED = "a password was typed before"


async def mistype(technician: Technician) -> None:
    """Fill the form for a key, and mistype the repeated password."""
    await technician.press("3", "n")
    await technician.sees("New key in the TPM")
    await technician.type("pump")
    await technician.press("enter", "enter")
    await technician.type("right")
    await technician.press("enter")
    await technician.type("wrong")
    await technician.press("enter")
    await technician.sees("the two passwords differ")


def auth(technician: Technician) -> dict[str, str | None]:
    """Each identity, and how its key is protected."""
    keys = list_keys(technician.app.board).files
    return {one.identity or "": one.auth for one in keys}


@pytest.mark.parametrize("way", [["enter"], ["enter"] * 4, ["tab", "tab", "tab", "enter"]], ids=len)
async def test_a_mistyped_repeat_makes_no_key_without_password(
    settings: Make, way: list[str]
) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await mistype(technician)
        await technician.press(*way)
        await technician.sees(REFUSED)
        await technician.idle()
        assert auth(technician) == {}
        await technician.press(*"right", "enter", *"right", "enter", "enter", "enter")
        await technician.sees("1 Key       DONE")
        assert auth(technician) == {"pump": "password"}


async def test_no_password_is_chosen_by_its_name(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await mistype(technician)
        await technician.sees("^N No password")
        await technician.press("ctrl+n", "enter")
        await technician.sees("1 Key       DONE")
        assert auth(technician) == {"pump": "none"}


async def test_a_form_that_comes_back_after_a_failure_still_wants_its_password(
    settings: Make, tmp_path: Path
) -> None:
    source = tmp_path / "key.pem"
    source.touch()
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await technician.press("2", "i", "t", "ctrl+u", *str(source), "enter")
        await technician.sees("existed outside the TPM")
        source.unlink()
        await technician.type("guest")
        await technician.press("enter", "enter")
        await technician.press(*"right", "enter", *"right", "enter", "enter", "enter")
        await technician.sees("No such file")
        await technician.press("enter")
        await technician.sees("Import a key made elsewhere")
        await technician.press("enter", "enter", "enter")
        await technician.sees(REFUSED)
