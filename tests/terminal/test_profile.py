"""Detect the kind of line, and configure Textual for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.ui.terminal.profile import TRUECOLOUR, LineProfile, detect, prepare_environment
from tpmconsole.ui.terminal.raw_mode import enter_sequence, leave_sequence
from tpmconsole.ui.terminal.size import LineSize, parse_in_band, parse_reply


def judged(
    line: str = "auto",
    tty: str = "/dev/pts/3",
    *,
    speed: int | None = None,
    encoding: str = "UTF-8",
    mouse: bool = False,
    **environment: str,
) -> LineProfile:
    """The profile; for xterm by default."""
    return detect(line, {"TERM": "xterm", **environment}, tty, speed, encoding, mouse=mouse)


@pytest.mark.parametrize(
    "tty",
    ["ttyS0", "ttymxc1", "ttyAMA0", "ttyLP0", "ttyUSB0", "ttyACM1", "hvc0", "console", "ttyPS0"],
)
def test_serial_by_device(tty: str) -> None:
    profile = judged(tty=f"/dev/{tty}", speed=115200)
    assert profile.serial
    assert profile.ascii
    assert profile.colours == 16
    assert profile.baud == 115200


@pytest.mark.parametrize("tty", ["/dev/pts/0", "/dev/tty1", "/dev/tty", ""])
def test_fast_by_device(tty: str) -> None:
    assert judged(tty=tty).name == "fast"


def test_a_hardware_terminal_is_serial_wherever_it_is() -> None:
    assert judged(TERM="vt220").serial
    assert judged(TERM="vt100-am").serial
    assert not judged(TERM="linux").serial


def test_who_asks_gets() -> None:
    assert judged("serial").serial
    assert not judged("fast", "/dev/ttyS0", TERM="vt220").serial


def test_a_slow_line_gets_fewer_frames() -> None:
    assert judged(tty="/dev/ttyS0", speed=9600).fps < judged(tty="/dev/ttyS0", speed=115200).fps


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_terminals_without_a_screen_are_refused(term: str) -> None:
    with pytest.raises(ConsoleError) as caught:
        judged(TERM=term)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "export TERM=vt220" in say(caught.value.remedy)


def test_colours_and_letters_of_a_fast_line() -> None:
    assert judged(COLORTERM="truecolor").colours == TRUECOLOUR
    assert judged(TERM="xterm-256color").colours == 256
    assert judged().colours == 16
    assert judged(COLORTERM="truecolor", NO_COLOR="1").colours == 0
    assert not judged(encoding="utf8").ascii
    assert judged(encoding="ISO-8859-1").ascii


def test_the_mouse_is_for_fast_lines() -> None:
    assert judged(mouse=True).mouse
    assert not judged("serial", mouse=True).mouse


def test_environment_for_textual() -> None:
    environment = {"COLUMNS": "30", "LINES": "7"}
    prepare_environment(judged("serial"), environment)
    assert "COLUMNS" not in environment
    assert "LINES" not in environment
    assert environment["TEXTUAL_COLOR_SYSTEM"] == "standard"
    assert environment["TEXTUAL_ANIMATIONS"] == "none"
    assert environment["TEXTUAL_THEME"] == "ansi-dark"
    environment = {}
    prepare_environment(judged(COLORTERM="truecolor"), environment)
    assert environment["TEXTUAL_COLOR_SYSTEM"] == "truecolor"
    assert "TEXTUAL_THEME" not in environment


@pytest.mark.parametrize("profile", [judged("serial"), judged(), judged(mouse=True)])
def test_leaving_undoes_entering(profile: LineProfile) -> None:
    leave = leave_sequence(profile)
    assert len(leave) <= 60
    for mode in ("1049", "25", "7", *(("1000", "1002", "1006") if profile.mouse else ())):
        assert f"\x1b[?{mode}" in enter_sequence(profile)
        assert f"\x1b[?{mode}" in leave


def test_nothing_is_asked_when_entering() -> None:
    assert not {"n", "c", "$", "p"} & set(enter_sequence(judged("serial")))


def test_no_textual_before_the_environment_is_set() -> None:
    code = (
        "import sys, tpmconsole.ui.terminal.profile, tpmconsole.ui.terminal.size;"
        "sys.exit(bool({'textual', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_answers_about_the_size() -> None:
    assert parse_reply("\x1b[40;132R") == LineSize(132, 40)
    assert parse_reply("\x1b[1;2R") is None, "shift+F3"
    assert parse_reply("\x1b[999;999R") is None, "a terminal that knows no edge"
    assert parse_in_band("\x1b[48;40;132;800;1056t") == LineSize(132, 40)
    assert parse_in_band("\x1b[48;0;0;0;0t") is None
