"""The five pages on a real simulated TPM, by keyboard, at 80x24."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module

import pytest
from support.technician import SIZE, console
from textual.css.query import NoMatches

from tpmconsole.board import Board
from tpmconsole.board.keys import create_key
from tpmconsole.errors import ConsoleError
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm
from tpmconsole.ui.dialogs.message import ConfirmDialog
from tpmconsole.ui.rows import Fact, lay_out
from tpmconsole.ui.widgets.bars import KeyBar
from tpmconsole.ui.widgets.details import DetailPane
from tpmconsole.ui.widgets.table import GAP

Make = Callable[..., Settings]


async def test_the_overview_shows_the_chip_and_its_health(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.sees("Self-test   PASSED")
        await technician.sees("SIMULATED")
        await technician.sees("Lock-out    OPEN       0 of 3 attempts used")
        await technician.press("t")
        await technician.sees("full, 20")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("2", "WHERE"),
        ("3", "1 Key       NEXT"),
        ("4", "s starts a server, c a client"),
        ("5", "self-test"),
        ("f4", "s starts a server"),
    ],
)
async def test_every_page_is_one_key_away_and_has_the_focus(
    settings: Make, key: str, text: str
) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.press(key)
        await technician.sees(text)
        assert technician.app.focused is not None
        await technician.press("1")
        await technician.sees("Identities")
        assert technician.app.focused is not None


async def test_the_help_tells_every_key_of_the_page(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.press("question_mark")
        await technician.sees("let the TPM test everything again")
        await technician.press("escape")
        assert len(technician.app.screen_stack) == 1


async def test_without_a_tpm_the_console_opens_and_offers_the_simulator(settings: Make) -> None:
    async with console(settings(tcti="device:/nowhere", tcti_source="--tcti")) as technician:
        await technician.sees("NO TPM")
        await technician.sees("/nowhere")
        for key in ("2", "3", "4", "5", "1"):
            await technician.press(key)
            await technician.idle()
        await technician.press("s")
        await technician.sees("Self-test   PASSED")


async def test_the_walk_through_the_screen(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.sees("PASSED")
        await technician.press("3", "n")
        await technician.sees("New key in the TPM")
        await technician.type("gateway")
        await technician.press("enter", "enter", "enter", "enter")
        await technician.sees("1 Key       DONE")
        await technician.press("enter")
        await technician.sees("Request for gateway")
        await technician.press(*["enter"] * 8)
        await technician.type("dns:localhost")
        await technician.press("enter", "left", "enter")
        await technician.sees("Sign it in the TPM")
        await technician.press("enter")
        await technician.sees("Hand the request of gateway")
        await technician.press("d")
        await technician.sees("Certificate of gateway")
        await technician.press("escape")
        await technician.sees("5 Ready     DONE")
        await technician.press("4", "s")
        await technician.sees("Start a server")
        await technician.press("enter", "end", *["backspace"] * 4, "0", "enter", "enter")
        await technician.sees("RUNNING")
        await technician.press("x")
        await technician.sees("End it?")
        await technician.press("n")
        await technician.idle()
        await technician.press("x")
        await technician.sees("End it?")
        await technician.press("y")
        await technician.sees("STOPPED")


async def test_a_bad_name_is_told_in_the_form_and_nothing_is_made(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.press("3", "n")
        await technician.type("../x")
        await technician.press("enter", "enter", "enter", "enter")
        await technician.sees("'../x'")
        await technician.press("escape")
        await technician.idle()
        assert technician.app.board.identities.names() == []


async def test_a_missing_certificate_file_is_told_in_a_dialog(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        create_key(technician.app.board, "pump", Algorithm.EC_P256)
        await technician.press("3")
        await technician.sees("pump")
        await technician.press("i", "f")
        await technician.sees("your home")
        await technician.press("t")
        await technician.type("/nowhere/pump.pem")
        await technician.press("enter")
        await technician.sees("there is no /nowhere;")
        # What was typed is shown again, to be corrected.
        await technician.sees("Path  /nowhere/pump.pem")
        await technician.press("escape", "escape")
        assert len(technician.app.screen_stack) == 1


@pytest.mark.parametrize("leaving", [True, False])
async def test_what_comes_late_finds_parts_gone_only_where_the_console_leaves(
    settings: Make, leaving: bool
) -> None:
    """On a slow board the next key may arrive before a page is built."""
    late = pytest.raises(NoMatches) if not leaving else nullcontext()
    with late:
        async with console(settings(simulate=True)) as technician:
            app = technician.app
            await app.main.query_one(KeyBar).remove()
            if leaving:
                app.exit(0)
            app.main.call_later(app.main.open_page, 2)
            if not leaving:
                await technician.pilot.pause()
    assert (app.failure is None, app.return_code) == (leaving, 0 if leaving else 5)


async def test_a_small_terminal_is_told_so_and_nothing_is_lost(settings: Make) -> None:
    async with console(settings(simulate=True), size=(60, 20)) as technician:
        await technician.sees("the console needs 76x20")
        await technician.pilot.resize_terminal(80, 24)
        await technician.sees("Self-test   PASSED")
        await technician.press("3", "n")
        await technician.type("gate")
        await technician.pilot.resize_terminal(75, 24)
        await technician.sees("The terminal has 75x24")
        await technician.pilot.resize_terminal(132, 43)
        await technician.until(lambda: len(technician.app.screen_stack) == 2, "the form again")
        await technician.sees("gate")


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
@pytest.mark.parametrize("before", ["", "3 n", "3 n tab tab", "question_mark", "2 o"])
@pytest.mark.parametrize("size", [SIZE, (75, 24), (80, 19)])
async def test_whatever_is_open_the_console_can_be_left(
    settings: Make, key: str, before: str, size: tuple[int, int]
) -> None:
    if key == "q" and size == SIZE and before:
        pytest.skip("q is a letter there")
    async with console(settings(tcti="device:/nowhere")) as technician:
        await technician.idle()
        await technician.press(*before.split())
        await technician.pilot.resize_terminal(*size)
        await technician.press(key)
        assert technician.app.return_code == 0


@pytest.mark.parametrize("size", [(80, 23), (76, 20)])
async def test_a_lower_terminal_shows_every_page_and_turns_its_pane(
    settings: Make, size: tuple[int, int]
) -> None:
    make = settings(simulate=True)
    board = Board(make)
    name = "pump-with-a-name-that-takes-many-cells-in-a-column-of-text"
    create_key(board, name, Algorithm.EC_P256)
    board.close()
    async with console(make, size=size) as technician:
        await technician.sees("PASSED")
        await technician.press("3")
        await technician.sees("5 Ready")
        await technician.press("2")
        await technician.sees("Usable")
        pane = technician.app.main.page.query_one(DetailPane)
        pane.present([Fact(f"Fact {number}", "", "text") for number in range(1, 12)])
        await technician.sees("Space: more")
        assert "Fact 11" not in technician.screen()
        await technician.press("space")
        await technician.sees("Fact 11")
        assert "Fact 1 " not in technician.screen()
        await technician.press("space")
        await technician.sees("Fact 1 ")


async def test_a_dialog_over_the_cover_leaves_nothing_covered(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await technician.pilot.resize_terminal(60, 20)
        await technician.sees("the console needs 76x20")
        technician.app.show_error(ConsoleError("Title", "cause", "remedy"))
        await technician.sees("remedy")
        await technician.pilot.resize_terminal(80, 24)
        await technician.press("enter")
        await technician.until(lambda: len(technician.app.screen_stack) == 1, "the page alone")


@pytest.mark.parametrize(
    "page", ["keys.details", "provision.columns", "sessions.columns", "doctor"]
)
def test_the_columns_of_a_table_fit_80_columns(page: str) -> None:
    columns = import_module(f"tpmconsole.ui.pages.{page}").COLUMNS
    assert sum(one.width + GAP for one in columns if one.since <= SIZE[0]) <= SIZE[0]


async def test_what_was_said_of_a_page_is_not_said_of_the_next(settings: Make) -> None:
    async with console(settings(tcti="device:/nowhere")) as technician:
        await technician.press("5")
        await technician.sees("n goes to the next")
        await technician.press("3")
        await technician.sees("1 Key")
        assert "n goes to the next" not in technician.screen()


async def test_yes_typed_in_full_is_one_answer(settings: Make) -> None:
    """Seen: after the y of a question, e and s were commands of the page."""
    async with console(settings(tcti="device:/nowhere")) as technician:
        await technician.sees("NO TPM")
        app = technician.app
        answers: list[bool | None] = []
        app.push_screen(ConfirmDialog("Title", "loss", "Sure?"), answers.append)
        await technician.press("y", "e", "s")
        await technician.idle()
        assert (answers, app.no_tpm is not None) == ([True], True)
        await technician.press("s")  # now it is the page's
        await technician.sees("SIMULATED")


def test_a_digest_that_does_not_fit_is_broken_between_groups() -> None:
    digest = "0123456789abcdef" * 4
    fact = Fact("Trust", "NEW CA", f"CN=x (SHA-256 {digest})")
    words = lay_out([fact], 80).plain.replace(")", "").split()
    assert words[-8:] == ["01234567", "89abcdef"] * 4
    assert digest in lay_out([Fact("SHA-256", "", digest)], 80, 0).plain


async def test_identities_that_cannot_be_read_hide_nothing_else(settings: Make) -> None:
    known = settings(simulate=True)
    known.identities.parent.mkdir(parents=True, exist_ok=True)
    known.identities.write_text("no folder")
    async with console(known) as technician:
        await technician.sees("Not a directory")
        await technician.sees("persistent keys, room for")
        await technician.sees("start one on page 4, Sessions")
