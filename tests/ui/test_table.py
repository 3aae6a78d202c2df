"""Tables on terminals of any width, and names that are longer than their column."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from support.technician import console

from tpmconsole.board.keys import create_key
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm

ONE, OTHER = "frankfurt-gateway-line-a", "frankfurt-gateway-line-b"


@pytest.mark.parametrize(("width", "in_full"), [(80, False), (132, True)])
async def test_long_names_can_be_told_apart(
    settings: Callable[..., Settings], width: int, in_full: bool
) -> None:
    async with console(settings(simulate=True), size=(width, 24)) as technician:
        await technician.idle()
        for name in (ONE, OTHER):
            await asyncio.to_thread(create_key, technician.app.board, name, Algorithm.EC_P256)
        await technician.press("3")
        await technician.sees("2 Request")
        assert technician.screen().count(ONE) == 1  # in the list, or in the pane below it
        assert (OTHER in technician.screen()) is in_full
        await technician.press("down")
        await technician.sees(OTHER)
        await technician.press("2")
        await technician.sees("Attributes")
        assert f"{ONE}/key.pem" in technician.screen()


@pytest.mark.parametrize(
    ("page", "columns"),
    [
        ("2", ("PARENT", "MADE BY", "SHA-256")),
        ("3", ("ROLE", "SUBJECT", "ISSUER")),
        ("4", ("ENGINE", "TLS", "MEDIAN/95%", "PEER UNTIL", "PEER")),
    ],
)
@pytest.mark.parametrize("width", [80, 132, 200])
async def test_a_wide_terminal_shows_more_columns(
    settings: Callable[..., Settings], page: str, columns: tuple[str, ...], width: int
) -> None:
    async with console(settings(simulate=True), size=(width, 50)) as technician:
        await technician.press(page)
        await technician.idle()
        titles = " ".join(technician.screen().splitlines()[3].split())
        assert titles.endswith(" ".join(columns)) is (width >= 132)


async def test_a_long_name_moves_no_column(settings: Callable[..., Settings]) -> None:
    async with console(settings(simulate=True), size=(132, 24)) as technician:
        await technician.idle()
        places = []
        for name in ("pump", "p" * 64):
            await asyncio.to_thread(create_key, technician.app.board, name, Algorithm.EC_P256)
            await technician.press("3")
            await technician.sees(name[:20])
            places.append(technician.screen().splitlines()[3])
            await technician.press("1")
        assert places[0] == places[1]
