"""Draws the README's pictures from the running program: ``python -m tools.screenshots``.

A picture is written only if what it shows has changed; ``--check`` writes nothing, and fails if one
would be written. Numbers differ from run to run, and the names of a board's own programs from board
to board: they do not count as changes.
"""

from __future__ import annotations

import asyncio
import html
import re
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from support.technician import Technician, console  # the same driver as the tests
from tools.walk import free_port

from tpmconsole.board.certificates import demo_sign
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.board.sessions import stop_session
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm
from tpmconsole.ui.terminal.profile import TRUECOLOUR, LineProfile
from tpmconsole.x509.request_spec import RequestSpec

PICTURES = Path(__file__).parents[2] / "screenshots"
# Fixed, because the Overview shows it.
STATE = Path("/tmp/tpmconsole")
PAGES = (
    ("4", "sessions"),
    ("2", "keys"),
    ("3", "provision"),
    ("5", "doctor"),
    ("1", "overview"),
)
# Two steps of the tour, and a word of each step on the way to them.
TOUR = (
    (
        "tour",
        ("reports", "INSIDE", "only this chip", "Checked", "checks passed", "A signature"),
    ),
    ("theft", ("no answer", "Signs here?")),
)
_TEXT = re.compile(r"<text\b[^>]*>(.*?)</text>", re.DOTALL)


class Look(NamedTuple):
    """A terminal to draw on."""

    prefix: str
    size: tuple[int, int]
    profile: LineProfile | None


LOOKS = (
    Look("", (80, 24), None),
    Look("wide-", (120, 36), LineProfile("fast", ascii=False, colours=TRUECOLOUR)),
)
Keep = Callable[[str, str], None]


def main() -> int:
    """Draw every screen; the exit code says whether all pictures were fresh, with ``--check``."""
    check = "--check" in sys.argv[1:]
    stale: list[str] = []

    def keep(name: str, picture: str) -> None:
        path = PICTURES / f"{name}.svg"
        if path.exists() and shown(name, path.read_text()) == shown(name, picture):
            return
        stale.append(name)
        if not check:
            path.write_text(picture)

    draw_all(keep)
    print(f"{'stale' if check else 'drawn'}: {', '.join(stale) or 'none'}")
    return int(check and bool(stale))


def draw_all(keep: Keep) -> None:
    """Draw every screen in every look, and hand each over with its name."""
    socket.gethostname = lambda: "board-17"
    for look in LOOKS:
        shutil.rmtree(STATE, ignore_errors=True)
        try:
            asyncio.run(_draw(Settings(state=STATE, simulate=True), look, keep))
        finally:
            shutil.rmtree(STATE, ignore_errors=True)


def shown(name: str, picture: str) -> list[str]:
    """The words of a picture, a line each, without what differs from run to run."""
    lines = [html.unescape(text) for text in _TEXT.findall(picture)]
    if "doctor" in name:  # what is found on this board is this board's affair: the probes count
        lines = [line for text in lines for line in text.split("\xa0")[:1]]
    return [masked(line) for line in lines if line.strip("\xa0 ")]


def masked(line: str) -> str:
    """A line without what differs from run to run: numbers, and how much room they take."""
    changing = r"[0-9a-f]*\d[0-9a-f]*|\b[0-9a-f]{4}\b"  # a fingerprint's group may have no digit
    return " ".join(re.sub(changing, "0", line.replace("\xa0", " ")).split())


async def _draw(settings: Settings, look: Look, keep: Keep) -> None:
    async with console(settings, look.size, look.profile) as technician:
        await technician.sees("PASSED")
        await asyncio.to_thread(_furnish, technician)
        await _start_sessions(technician)
        for key, name in PAGES:
            await technician.press(key)
            await technician.idle()
            await technician.app.workers.wait_for_complete()
            keep(look.prefix + name, technician.app.export_screenshot(title="tpmconsole"))
        await technician.press("6")
        for name, words in TOUR:
            for word in words:
                await technician.press("enter")
                await technician.sees(word)
            await technician.idle()
            keep(look.prefix + name, technician.app.export_screenshot(title="tpmconsole"))
        for session in ("client-1", "server-1"):
            await asyncio.to_thread(stop_session, technician.app.board, session)


async def _start_sessions(technician: Technician) -> None:
    """A server, and a client that talks to it until it is stopped."""
    address = ("end", *["backspace"] * 4, *str(free_port()), "enter")
    await technician.press("4", "s")
    await technician.sees("Start a server")
    await technician.press("enter", *address, "enter")
    await technician.sees("RUNNING")
    await technician.press("c")
    await technician.sees("Start a client")
    await technician.press("enter", *address, "enter", "right", "enter", "enter")
    for text in ("client-1", "TLSv1.3", "CPU"):
        await technician.sees(text)
    talking = re.compile(r"[2-9] messages, \d+ B in")
    await technician.until(lambda: talking.search(technician.screen()), "some messages")


def _furnish(technician: Technician) -> None:
    """Three identities: one ready, one that waits for its certificate, one with only a key."""
    board = technician.app.board
    for name, algorithm in (
        ("gateway", Algorithm.EC_P256),
        ("pump", Algorithm.EC_P384),
        ("sensor", Algorithm.RSA_2048),
    ):
        create_key(board, name, algorithm)
    for name in ("gateway", "pump"):
        make_request(board, name, RequestSpec(f"CN={name},O=Example", ("dns:localhost",), "both"))
    demo_sign(board, "gateway")


if __name__ == "__main__":
    sys.exit(main())
