"""The guided tour through the screen: each step is really done, and its word is true."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support.technician import Technician, console
from support.waiting import processes_of

from tpmconsole.board.tour import Tour
from tpmconsole.board.tour.story import STEPS, Outcome
from tpmconsole.errors import ConsoleError
from tpmconsole.settings import Settings
from tpmconsole.ui.pages.tour import TourPage

Make = Callable[..., Settings]


def page_of(technician: Technician) -> TourPage:
    return technician.app.main.query_one(TourPage)


def states(outcome: Outcome) -> dict[str, str]:
    return {one.name: one.state for one in outcome.shown}


def text(outcome: Outcome) -> str:
    return " ".join(one.text for one in outcome.shown)


async def walk(technician: Technician) -> list[Outcome]:
    """Press Enter through all steps; each must be on one page as a whole."""
    page = page_of(technician)
    for index, step in enumerate(STEPS):
        await technician.press("enter")
        await technician.sees(f"{index + 1} of 11  {step.title}")
        await technician.until(partial(page._outcomes.__contains__, index), step.title)
        last = page._outcomes[index].shown[-1].text.split()[-1]
        await technician.sees(last)
        assert page.max_scroll_y == 0
    return [page._outcomes[index] for index in range(len(STEPS))]


async def test_the_tour_does_what_it_tells_and_leaves_nothing(settings: Make, state: Path) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.press("6")
        await technician.sees("a key that cannot be stolen")
        assert not (state / "tour").exists()
        done = await walk(technician)
        assert not processes_of(state / "tour" / "stage"), "the second TPM runs no longer"
        await technician.press("left", "left", "left")
        await technician.sees("8 of 11")
        assert technician.app.board.identities.names() == []
    assert not (state / "tour").exists()

    meet, born, file, request, certificate, hands, stranger, theft, software, lie, ways = done
    assert states(meet)["Self-test"] == "PASSED"
    assert "never leaves its TPM, made in the TPM" in text(born)
    assert states(file)["A key in it?"] == "NOT FOUND"
    assert states(request)["Checked"] == "OK"
    assert "CN=tpmconsole demo CA" in text(certificate)
    assert "TLSv1.3" in text(hands)
    assert any("THE TPM SIGNS HERE" in line for line in hands.diagram)
    assert states(stranger)["Stranger"] == "REFUSED"
    assert "certificate required" in text(stranger)
    assert states(theft) | {"Thief's TPM": "PASSED"} == {
        "The copy": "STOLEN",
        "Thief's TPM": "PASSED",
        "Signs there?": "REFUSED",
        "Signs here?": "YES",
    }
    assert "0x1df" in text(theft)  # TPM_RC_INTEGRITY, parameter 1 (Part 2, 6.6)
    assert states(software)["Thief calls"] == "WORKS"
    assert "PONG 1" in text(software)
    assert states(lie) == {
        "Device": "OK",
        "Liar": "REFUSED",
        "Forgery": "SEALED",
        "Opens it?": "REFUSED",
    }
    assert "by the CA" in text(lie)
    assert "0x1df" in text(lie)
    one_for_all, one_each, inside = (one.text for one in ways.shown)
    assert "2 devices, 1 key" in one_for_all
    assert "says 'imported'" in one_each
    assert "says 'made in the TPM'" in inside
    assert all(line.isascii() for one in done for line in (*one.diagram, text(one)))


async def test_a_step_that_fails_is_told_and_can_be_tried_again(settings: Make) -> None:
    async with console(settings(tcti="device:/nowhere", tcti_source="--tcti")) as technician:
        await technician.press("6", "enter")
        await technician.sees("No TPM reached")
        await technician.press("right")
        await technician.sees("2 of 11")
        await technician.sees("No TPM reached")
        await technician.press("left", "left", "enter")
        await technician.sees("1 of 11")
        await technician.sees("No TPM reached")
        await technician.press("s")
        await technician.sees("as the chip reports")
        await technician.press("escape")
        await technician.sees("Enter starts it")


def test_two_tours_do_not_get_into_each_others_way(settings: Make, state: Path) -> None:
    first, second = Tour.beside(settings()), Tour.beside(settings())
    try:
        first.enter()
        with pytest.raises(ConsoleError, match="Tour is already running"):
            second.enter()
    finally:
        second.close()
        assert (state / "tour").exists()
        first.close()
    assert not (state / "tour").exists()
