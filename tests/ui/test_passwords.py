"""Each action asks once for the password that the TPM needs, and then continues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from support.parent import key_below, make_parent
from support.technician import Technician, console
from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.board import Board
from tpmconsole.board.certificates import demo_sign
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.board.sessions import stop_session
from tpmconsole.settings import Settings
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import Algorithm, Connection
from tpmconsole.ui.dialogs.password import PasswordDialog, Question
from tpmconsole.x509.request_spec import RequestSpec

Make = Callable[..., Settings]
KEY, OWNER = "Password of gateway", "Password of the TPM's hierarchy"
PARENT = "Password of the parent of gateway"
PARENT_HANDLE = 0x81000001
PASSWORDS = {KEY: "key", OWNER: "owner", PARENT: "parent"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the password dialogs that were opened, one after the other."""
    opened: list[str] = []
    make = PasswordDialog.__init__

    def count(self: PasswordDialog, question: Question) -> None:
        opened.append(question.title)
        make(self, question)

    monkeypatch.setattr(PasswordDialog, "__init__", count)
    return opened


@contextmanager
def _on_bus(connection: Connection) -> Iterator[str]:
    """The simulated TPM for tpm2-pytss, which finds the bus by the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in connection.environment.items():
            patch.setenv(name, value)
        yield connection.tcti


def _make(board: Board, titles: Sequence[str], *, certified: bool) -> None:
    """An identity; it, its parent and the TPM's owner ask for what ``titles`` says."""
    auth = Auth(
        b"key" if KEY in titles else None,
        parent=b"parent" if PARENT in titles else None,
    )
    if PARENT in titles:
        with _on_bus(board.connect()):
            make_parent(board.connect(), PARENT_HANDLE)
            pem = key_below(board.connect(), PARENT_HANDLE)
        board.identities.create(
            "gateway", key_pem=pem, handle=None, algorithm="ec-p256", auth="none"
        )
    else:
        create_key(board, "gateway", Algorithm.EC_P256, auth)
    if certified:
        spec = RequestSpec("CN=gateway", ("dns:localhost",), "both")
        make_request(board, "gateway", spec, auth)
        demo_sign(board, "gateway", auth)
    if OWNER in titles:
        with _on_bus(board.connect()) as tcti, ESAPI(tcti) as esapi:
            esapi.hierarchy_change_auth(ESYS_TR.OWNER, "owner")


async def _prepared(technician: Technician, titles: Sequence[str], *, certified: bool) -> None:
    await technician.idle()
    await asyncio.to_thread(_make, technician.app.board, titles, certified=certified)


async def _give(technician: Technician, asked: list[str], titles: Sequence[str], then: str) -> None:
    """Type each password as its dialog comes; none comes twice."""
    for title in titles:
        await technician.sees(title)
        await technician.type(PASSWORDS[title])
        await technician.press("enter")
    await technician.sees(then)
    await technician.idle()
    assert asked == list(titles)
    asked.clear()


@pytest.mark.parametrize("titles", [(OWNER,), (KEY, OWNER)], ids=["owner", "key-owner"])
async def test_page_3_asks_once_for_each(
    settings: Make, asked: list[str], titles: Sequence[str]
) -> None:
    async with console(settings(simulate=True)) as technician:
        await _prepared(technician, titles, certified=False)
        await technician.press("3")
        await technician.sees("gateway")
        await technician.press("r")
        await technician.sees("Request for gateway")
        await technician.press("up", "enter")
        await technician.sees("Sign it in the TPM")
        await technician.press("enter")
        await _give(technician, asked, titles, "Hand the request of gateway")
        await technician.press("escape", "d")
        # Of a key that has a password the proof is another action.
        await _give(technician, asked, () if KEY in titles else titles, "Certificate of gateway")
        await technician.press("escape", "w")
        await technician.sees("The same key")
        await technician.press("s")
        await technician.sees("Renewal for gateway")
        await technician.press("up", "enter")
        await technician.sees("Sign it in the TPM")
        await technician.press("enter")
        await _give(technician, asked, titles, "Hand the request of gateway")
        await technician.press("escape", "w")
        await technician.sees("The same key")
        await technician.press("n")
        await technician.sees("gateway-2")
        await technician.press("enter", "enter")
        # The new key has no password, but its parent is still the owner's primary key.
        await _give(technician, asked, (OWNER,), "Hand the request of gateway-2")
        await technician.press("escape")


@pytest.mark.parametrize(
    "titles",
    [(KEY,), (OWNER,), (KEY, OWNER), (PARENT,)],
    ids=["key", "owner", "key-owner", "parent"],
)
async def test_page_4_asks_once_for_each(
    settings: Make, asked: list[str], titles: Sequence[str]
) -> None:
    async with console(settings(simulate=True)) as technician:
        await _prepared(technician, titles, certified=True)
        board = technician.app.board
        await technician.press("4", "s")
        await technician.sees("Start a server")
        await technician.press("enter", "end", *["backspace"] * 4, "0", "enter", "enter")
        await _give(technician, asked, titles, "server-1 started")
        port = board.sessions.show("server-1").address.rpartition(":")[2]
        await technician.press("c")
        await technician.sees("Start a client")
        await technician.press("enter", "end", *["backspace"] * 4, *port, *["enter"] * 4)
        await _give(technician, asked, titles, "client-1 started")
        await technician.sees("2 of 2")  # the cursor is on the client
        await technician.press("r")
        await technician.sees("Start it again?")
        await technician.press("y")
        await _give(technician, asked, titles, "client-2 started")
        # Only the first session has to find out whether a parent has a password.
        lockout = board.status().lockout
        assert lockout is not None
        assert lockout.failed_tries == (1 if PARENT in titles else 0)
        for session in ("client-2", "server-1"):
            stop_session(board, session)
