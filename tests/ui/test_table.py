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
