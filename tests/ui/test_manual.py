"""The manual on the screen, by keyboard, at 80x24."""

from __future__ import annotations

from collections.abc import Callable

from support.technician import Technician, console

from tpmconsole.settings import Settings

Make = Callable[..., Settings]


async def opened(technician: Technician) -> None:
    """Open the manual from the help."""
    await technician.press("question_mark")
    await technician.sees("Everywhere")
    await technician.press("m")
    await technician.sees("Which TPM is used")


async def test_a_section_is_read_page_by_page_and_the_next_one_follows(settings: Make) -> None:
    async with console(settings(tcti="device:/nowhere")) as technician:
        await opened(technician)
        await technician.press("slash")
        await technician.type("session start client")
        await technician.press("enter")
        await technician.sees("sections contain 'session start client'")
        await technician.press("enter")
        await technician.sees("session start client, page 1 of 3")
        await technician.sees("usage: tpmconsole session start client")
        await technician.press("space", "pagedown")
        await technician.sees("page 3 of 3")
        await technician.press("right")
        await technician.sees("session start server, page 1")
        await technician.press("b")
        await technician.sees("session start client, page 3 of 3")
        await technician.press("escape", "escape")
        assert len(technician.app.screen_stack) == 1


async def test_a_hit_opens_the_page_that_has_it(settings: Make) -> None:
    async with console(settings(tcti="device:/nowhere")) as technician:
        await opened(technician)
        await technician.press("slash")
        await technician.type("restart_count")
        await technician.press("enter")
        await technician.sees("1 of")
        await technician.press("enter")
        await technician.sees("status, page")
        assert "restart_count" in technician.screen()


async def test_a_search_without_a_result_and_an_empty_one(settings: Make) -> None:
    async with console(settings(tcti="device:/nowhere")) as technician:
        await opened(technician)
        await technician.press("slash")
        await technician.type("nowhere-to-be-found")
        await technician.press("enter")
        await technician.sees("0 of")
        await technician.press("enter")
        await technician.press("slash", "enter")
        await technician.sees("Which TPM is used")


async def test_a_visitor_of_the_kiosk_gets_the_keys_alone(settings: Make) -> None:
    async with console(settings(simulate=True, kiosk=True)) as technician:
        await technician.press("question_mark")
        await technician.sees("Everywhere")
        await technician.press("m")
        await technician.idle()
        assert "sections" not in technician.screen()
