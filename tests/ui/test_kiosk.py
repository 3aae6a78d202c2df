"""The kiosk: what a visitor may do, and what it does automatically."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.technician import Technician, console

from tpmconsole.board.keys import create_key
from tpmconsole.errors import ConsoleError
from tpmconsole.settings import KioskRules, Settings, load_settings
from tpmconsole.tpm.model import Algorithm, KeyRef
from tpmconsole.ui.kiosk import KeySequence
from tpmconsole.ui.main_screen import PAGES
from tpmconsole.ui.pages.tour import TourPage

Make = Callable[..., Settings]
SECRET = ["f8", "f8", "x", "f3", "x"]
ALLOWED = {
    "Overview": {"t", "i", "r"},
    "Keys": {"enter", "r"},
    "Provision": {"h"},
    "Sessions": {"enter"},
    "Doctor": {"r", "n"},
    "Tour": {"enter", "right", "left", "escape", "down", "up"},
}
# By page: a word on it, and keys that do something for users who are not visitors.
HARMFUL = (
    ("Overview", "Lock-out", ("l", "s", "f10")),
    ("Keys", "gateway", ("p", "e", "c", "u")),
    ("Provision", "gateway", ("n", "r", "i", "t", "u", "w", "d", "enter")),
    ("Sessions", "SESSION", ("s", "c", "x")),
    ("Doctor", "6 Tour", ("w", "m", "enter")),
)
NO_KEYS_OF_HIS = ("c makes", "n: ", "s starts", "c a client", "make the first", "start one")


def rules(**kiosk: object) -> dict[str, object]:
    return {"kiosk": {"leave": SECRET, **kiosk}}


def tour(technician: Technician) -> TourPage:
    return technician.app.main.query_one(TourPage)


async def test_no_page_uses_the_stage_while_it_is_cleared(settings: Make) -> None:
    """Seen: Enter at the tour's end, 1: NO TPM, start tpm2-abrmd, for three seconds."""
    async with console(settings(simulate=True, kiosk=True)) as technician:
        await technician.sees("SIMULATED")
        await technician.press("enter")
        await technician.idle()
        tour(technician).start_over()
        (clearing,) = [one for one in technician.app.jobs.running if one.label]
        assert clearing.alone
        await technician.press("1")
        await technician.idle()
        assert technician.app.no_tpm is None


async def test_empty_pages_name_no_keys_that_do_nothing(settings: Make) -> None:
    async with console(settings(simulate=True, kiosk=True)) as technician:
        await technician.sees("SIMULATED")
        for page in "1234":
            await technician.press(page)
            await technician.idle()
            await technician.sees("tour")
            for words in (
                "c makes",
                "n: ",
                "s starts",
                "c a client",
                "make the first",
                "start one",
            ):
                assert words not in technician.screen(), (page, words)


async def test_a_low_terminal_is_no_way_out_either(settings: Make) -> None:
    async with console(settings(simulate=True, kiosk=True), size=(60, 10)) as technician:
        await technician.sees("the console needs")
        assert "quit" not in technician.screen()
        await technician.press("q", "ctrl+c")
        assert technician.app.return_code is None


async def test_a_visitor_has_what_was_meant_for_one_and_no_way_out(settings: Make) -> None:
    board = settings(simulate=True, kiosk=True, options=rules())
    async with console(board) as technician:
        await technician.sees("SIMULATED")
        app, main, seen = technician.app, technician.app.main, {}
        create_key(app.board, "gateway", Algorithm.EC_P256)
        await technician.press("q", "f10", "ctrl+q", "ctrl+c", "ctrl+z", "ctrl+p", "ctrl+backslash")
        for index, (page, word, keys) in enumerate(HARMFUL):
            await technician.press(str(index + 1))
            await technician.sees(word)
            seen[page] = {one.key for one in main._of_page()}
            # Enter is a table's own key: it must not open a form behind the commands' back.
            await technician.press(*keys)
            assert len(app.screen_stack) == 1, page
        await technician.press("6")
        seen["Tour"] = {one.key for one in main._of_page()}
        # Before you add one here, consider what a stranger could do with it.
        assert seen == ALLOWED
        pages = {str(index + 1) for index in range(len(PAGES))}
        assert {one.key for one in main.commands()} == pages | {"question_mark", "ctrl+l", "space"}
        assert not app._notifications

        await technician.press("f8", "f8", "x", "x", "f3", "x")
        assert app.is_running
        await technician.press("f8", *SECRET)
        await technician.until(lambda: not app.is_running, "the end")
        assert app.return_code == 0


async def test_after_a_quiet_time_it_is_as_new_and_then_plays(settings: Make) -> None:
    board = settings(simulate=True, kiosk=True, options=rules(quiet_s=5, page_s=1))
    async with console(board) as technician:
        keeper, app = technician.app._keeper, technician.app
        assert keeper
        await technician.sees("Press Enter to begin")
        await technician.press("enter")
        await technician.sees("as the chip reports")
        await technician.press("enter")
        await technician.sees("INSIDE")
        before = app.board.simulator.status().pids["swtpm"]
        key = KeyRef(pem=app.board.identities.get("sensor-17").key_pem)
        await technician.press("2")
        await technician.sees("sensor-17")
        await technician.press("enter")
        await technician.until(lambda: len(app.screen_stack) == 2, "a dialog")
        keeper._touched -= 5  # as if that long nobody had pressed a key
        keeper._due()
        await technician.sees("Press Enter to begin")
        await technician.until(lambda: not tour(technician).busy, "the stage is cleared")
        assert len(app.screen_stack) == 1
        assert app.board.identities.names() == []
        await technician.sees("1 of 11")
        await technician.sees("as the chip reports")
        assert app.board.simulator.status().pids["swtpm"] != before
        usable = await asyncio.to_thread(app.board.tpm.check_key, key)
        assert usable.answer == "not-this-tpm", "the simulated TPM is another one now"
        await technician.press("left")
        assert not keeper._playing


def test_its_state_is_a_folder_of_its_own_and_its_tpm_simulated(tmp_path: Path) -> None:
    made = load_settings(state=str(tmp_path), kiosk=True, environment={})
    assert made.state == tmp_path / "kiosk"
    assert made.log == tmp_path / "log" / "tpmconsole.log"
    assert made.simulate
    real = load_settings(state=str(tmp_path), kiosk=True, tcti="device:/dev/x", environment={})
    assert not real.simulate
    assert real == replace(real, state=tmp_path / "kiosk")


@pytest.mark.parametrize(
    ("kiosk", "cause"),
    [
        (5, "not a table"),
        ({"quiet": 5}, "there is no quiet"),
        ({"quiet_s": "long"}, "quiet_s"),
        ({"quiet_s": 1}, "quiet_s"),
        ({"quiet_s": float("nan")}, "quiet_s"),
        ({"page_s": True}, "page_s"),
        ({"leave": "q"}, "not a list"),
        ({"leave": ["q", "q"]}, "fewer than 5"),
    ],
)
def test_rules_that_cannot_be_right_are_refused(kiosk: object, cause: str) -> None:
    with pytest.raises(ConsoleError, match=cause):
        KioskRules.of({"kiosk": kiosk})
    assert KioskRules.of({}) == KioskRules(90, 20, ())


def test_no_sequence_is_never_completed() -> None:
    assert not any(KeySequence(()).pressed(key) for key in "abc")
