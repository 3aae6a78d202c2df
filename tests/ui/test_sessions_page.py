"""The Sessions page on a real simulated TPM: start, watch, restart, and other TPM users."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support.technician import Technician, console

from tpmconsole.board import Board
from tpmconsole.board.certificates import demo_sign
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.board.sessions import start_session, stop_session
from tpmconsole.session.spec import SessionSpec
from tpmconsole.settings import Settings
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import Algorithm
from tpmconsole.ui.pages.sessions.form import start_form
from tpmconsole.ui.widgets.table import Table
from tpmconsole.x509.request_spec import RequestSpec

Make = Callable[..., Settings]
# Opens the simulator's bus as any D-Bus client would, but not as our child, which is the worker.
OPEN_BUS = """
import os, socket, sys
if os.fork():
    os._exit(0)
with socket.socket(socket.AF_UNIX) as bus, socket.create_server(("127.0.0.1", 0)) as listener:
    bus.connect(sys.argv[1])
    print(os.getpid(), listener.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_program(bus: str) -> Iterator[tuple[int, int]]:
    """Its process number, and the port that it listens on."""
    with subprocess.Popen(
        [sys.executable, "-c", OPEN_BUS, bus.removeprefix("unix:path=")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        pid, port = map(int, other.stdout.readline().split())
        yield pid, port
        other.communicate()


async def ready(technician: Technician, password: bytes | None = None) -> Board:
    """A board with an identity that may start sessions."""
    await technician.idle()
    board = technician.app.board
    auth = Auth(password)
    create_key(board, "gateway", Algorithm.EC_P256, auth)
    spec = RequestSpec("CN=gateway", ("dns:localhost",), "both")
    make_request(board, "gateway", spec, auth)
    demo_sign(board, "gateway")
    return board


async def test_a_session_is_watched_and_restarted(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        board = await ready(technician)
        server = start_session(board, SessionSpec("server", "gateway", "localhost", 0))
        port = int(server.address.rpartition(":")[2])
        client = start_session(
            board, SessionSpec("client", "gateway", "localhost", port, interval_s=0.05)
        )
        await technician.press("4")
        await technician.sees("Since       ")
        await technician.press("down")
        for words in ("x25519, full handshake", "Peer        CN=gateway, until", "95 %", "CPU"):
            await technician.sees(words)
        seen = board.sessions.show(client.id).messages
        await technician.until(
            lambda: board.sessions.show(client.id).messages > seen + 5, "more messages"
        )
        await technician.press("enter")
        await technician.sees(f"Events of {client.id}")
        await technician.sees("handshake   TLSv1.3")
        await technician.press("f")
        await technician.sees("all, ")
        await technician.sees("PING")
        await technician.press("e")
        await technician.sees("no error so far")
        await technician.press("up", "enter")
        await technician.sees("PONG")
        await technician.press("escape", "escape", "l")
        await technician.sees("has read its certificate again")
        assert board.sessions.show(client.id).handshakes == 1
        await technician.press("3", "d")
        await technician.sees(f"{server.id} still uses the old files: l on page 4")
        await technician.press("escape", "escape", "4")
        await technician.sees("2 of 2")
        await technician.press("r")
        await technician.sees("is dropped")
        await technician.press("n")
        assert not board.sessions.show(client.id).state.ended
        await technician.press("r")
        await technician.sees("Start it again?")
        await technician.press("y")
        await technician.sees("client-2 started")
        assert board.sessions.show("client-1").state == "stopped"
        assert board.sessions.spec("client-2") == board.sessions.spec("client-1")
        await technician.idle()
        stop_session(board, "client-2")
        stop_session(board, server.id)


async def test_the_password_is_asked_for_and_a_wrong_one_costs_no_session(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        board = await ready(technician, b"secret")
        await technician.press("4", "s")
        await technician.sees("Start a server")
        await technician.press("enter", "end", *["backspace"] * 4, "0", "enter", "enter")
        await technician.sees("Password of gateway")
        await technician.type("wrong")
        await technician.press("enter")
        await technician.sees("attempts left: 2 of 3")
        assert board.sessions.list() == []
        await technician.type("secret")
        await technician.press("enter")
        await technician.sees("server-1 started")
        await technician.sees("1 of 1")  # the list has it
        # Restarting asks before it ends anything.
        await technician.press("r")
        await technician.sees("Start it again?")
        await technician.press("y")
        await technician.sees("Password of gateway")
        await technician.press("escape")
        await technician.sees("no password was given")
        assert [one.state for one in board.sessions.list()] == ["running"]
        await technician.press("r")
        await technician.sees("Start it again?")
        await technician.press("y")
        await technician.sees("Password of gateway")
        await technician.type("secret")
        await technician.press("enter")
        await technician.sees("server-2 started")
        await technician.idle()  # the list has it, and the cursor is on it
        await technician.press("x")
        await technician.sees("nobody is connected")
        await technician.press("y")
        await technician.until(lambda: not board.sessions.any_running(), "the end of server-2")
        # The last attempt is sent if the user confirms it.
        gateway = board.source(board.identities.get("gateway"))
        assert not board.tpm.check_key(gateway, Auth(b"wrong")).usable
        await technician.press("r")
        await technician.sees("attempts left: 1 of 3")
        await technician.type("secret")
        await technician.press("enter")
        await technician.sees("LAST ATTEMPT")
        await technician.press("y")
        await technician.sees("server-3 started")
        stop_session(board, "server-3")


async def test_another_user_of_the_tpm_is_a_row_of_its_own(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        bus = technician.app.board.simulator.status().bus
        assert bus is not None
        with other_program(bus) as (pid, port):
            await technician.press("4")
            await technician.sees(f"pid {pid}")
            await technician.sees(f"process {pid}, not started by us")
            await technician.sees("the simulator (")
            await technician.sees(f"listens on 127.0.0.1:{port}")
            await technician.press("enter")
            await technician.sees(" ago")
            await technician.press("escape")


async def test_a_ready_identity_starts_its_session_and_an_error_keeps_the_form(
    settings: Make,
) -> None:
    async with console(settings(simulate=True)) as technician:
        board = await ready(technician)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            await technician.press("3")
            await technician.sees("Enter: start a session")
            await technician.press("enter")
            await technician.sees("Start gateway as")  # its certificate is for both
            await technician.press("s")
            await technician.sees("Start a server")
            await technician.press("enter", "ctrl+u", *f"127.0.0.1:{port}", "enter", "right")
            await technician.press("right", "enter")
            await technician.sees("Port in use")
            await technician.press("enter")
            await technician.sees(f"127.0.0.1:{port}")
            await technician.sees("< bridge >")
            assert board.sessions.list() == []
        await technician.press("enter", "enter", "enter")
        await technician.sees("server-1 started")
        await technician.idle()
        stop_session(board, "server-1")


async def test_of_many_identities_one_is_found_by_typing(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        names = [f"pump-{number}" for number in range(1, 12)]
        technician.app.push_screen(start_form("server", [*names, "gateway"]))
        await technician.sees("Space: all 12")
        await technician.press("g")
        await technician.sees("/g_, 1 of 12")
        await technician.press("backspace", *"mp 11")
        await technician.sees("/mp 11_, 1 of 12")
        await technician.press("enter")
        await technician.sees("< pump-11 >")
        await technician.press("space")
        await technician.sees("12 of 12")
        assert technician.app.screen.query_one(Table).cursor_row == 10
        await technician.press("x", "enter", "escape", "right")
        await technician.sees("< gateway >")
