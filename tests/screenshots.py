"""Draws the README's pictures from the running program: ``python tests/screenshots.py``."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from pathlib import Path

from walk import free_port

from tpmconsole.identity.request import RequestSpec
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm

sys.path.insert(0, str(Path(__file__).parent / "ui"))
from driving import Technician, console  # the same driver as the tests

PICTURES = Path(__file__).parent.parent / "screenshots"
# Fixed, because the Overview shows it.
STATE = Path("/tmp/tpmconsole")


def main() -> None:
    """Make a small scene on a new simulated TPM, and draw every screen of it."""
    socket.gethostname = lambda: "board-17"
    shutil.rmtree(STATE, ignore_errors=True)
    try:
        asyncio.run(_draw(Settings(state=STATE, simulate=True)))
    finally:
        shutil.rmtree(STATE, ignore_errors=True)


async def _draw(settings: Settings) -> None:
    async with console(settings) as technician:
        await technician.sees("PASSED")
        await asyncio.to_thread(_furnish, technician)
        await technician.press("4", "s")
        await technician.sees("Start a server")
        await technician.press("enter", *["backspace"] * 4, *str(free_port()), "enter", "enter")
        await technician.sees("RUNNING")
        await _draw_pages(technician)
        await technician.press("4", "x")
        await technician.sees("STOPPED")


def _furnish(technician: Technician) -> None:
    """Three identities: one ready, one that waits for its certificate, one with only a key."""
    board = technician.app.board
    for name, algorithm in (
        ("gateway", Algorithm.EC_P256),
        ("pump", Algorithm.EC_P384),
        ("sensor", Algorithm.RSA_2048),
    ):
        board.keyring.create(name, algorithm)
    for name in ("gateway", "pump"):
        board.provision.request(
            name, RequestSpec(f"CN={name},O=Example", ("dns:localhost",), "both")
        )
    board.installer.demo_sign("gateway")


async def _draw_pages(technician: Technician) -> None:
    for key, name in (
        ("4", "sessions"),
        ("2", "keys"),
        ("3", "provision"),
        ("5", "doctor"),
        ("1", "overview"),
    ):
        await technician.press(key)
        await technician.idle()
        await technician.app.workers.wait_for_complete()
        picture = technician.app.export_screenshot(title="tpmconsole")
        (PICTURES / f"{name}.svg").write_text(picture)


if __name__ == "__main__":
    main()
