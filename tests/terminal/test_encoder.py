"""What the encoder sends, byte by byte; and that a VT220 knows all of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.painting import frames, shown_in, shown_on, terminal

from tpmconsole.ui.terminal.output.encoder import CLEAR, Encoder
from tpmconsole.ui.terminal.output.grid import Grid, to_ascii
from tpmconsole.ui.terminal.output.painter import Painter, is_direct
from tpmconsole.ui.terminal.output.style import REVERSE, SERIAL_FLAGS

COLUMNS, ROWS = 40, 12

# Cursor moves, erasing, regions, looks, reverse index; and CR, LF, BS.
VT220 = re.compile(
    r"(?:[ -~]|[\r\n\b]|\x1bM|\x1b\[(?:\d*[ABCDHJKX]|\d*;\d+[Hr]|r|[0-9;]*m))*", re.DOTALL
)


class Line:
    """A painter, an encoder and a terminal at the end of the line."""

    def __init__(self, *, ascii_only: bool = False, may_clear: bool = True) -> None:
        self.grid = Grid(COLUMNS, ROWS)
        self.painter = Painter(self.grid, ascii_only=ascii_only, flags=SERIAL_FLAGS)
        self.encoder = Encoder(COLUMNS, ROWS, may_clear=may_clear)
        self.screen, self.stream = terminal(COLUMNS, ROWS)
        self.paint("")

    def paint(self, frame: str) -> str:
        """What is sent for a frame; the terminal has to show the frame then."""
        self.painter.feed(frame)
        sent = self.encoder.encode(self.grid)
        self.stream.feed(sent)
        assert shown_on(self.screen) == shown_in(self.grid)
        return sent


@pytest.fixture
def line() -> Line:
    return Line()


def test_first_frame_starts_from_a_cleared_screen() -> None:
    encoder = Encoder(COLUMNS, ROWS)
    assert encoder.encode(Grid(COLUMNS, ROWS)) == CLEAR
    assert encoder.encode(Grid(COLUMNS, ROWS)) == ""
    encoder.forget()
    assert encoder.encode(Grid(COLUMNS, ROWS)) == CLEAR


def test_the_same_again_sends_nothing(line: Line) -> None:
    frame = "\x1b[3;5H\x1b[1;31mHello\x1b[0m"
    assert line.paint(frame)
    assert line.paint(frame) == ""


@pytest.mark.parametrize(
    ("frames", "sent"),
    [
        (["abc"], "abc"),
        (["\x1b[2;1Habc"], "\r\nabc"),
        (["\x1b[5;30Hx"], "\x1b[5;30Hx"),
        # A gap is printed again where that is shorter than a move.
        (["\x1b[1;1Habcd", "\x1b[1;1HXbcY"], "\rXbcY"),
        (["\x1b[1;1Hab" + "-" * 20 + "d", "\x1b[1;1HXb" + "-" * 20 + "Y"], "\rX\x1b[21CY"),
        # One change of look for a blank and the word after it; none to go back at the end.
        (["a\x1b[1m bc\x1b[0m"], "a \x1b[1mbc"),
        # Invisible colours of spaces are not sent.
        (["\x1b[31m   \x1b[0m"], ""),
        (["\x1b[41m \x1b[0m"], "\x1b[41m "),
        # From one look to another: what changes, or all of it, whichever is shorter.
        (["\x1b[1;31mab\x1b[0m\x1b[32mc"], "\x1b[1;31mab\x1b[;32mc"),
        (["\x1b[31mab\x1b[0m\x1b[32mc"], "\x1b[31mab\x1b[32mc"),
    ],
)
def test_few_bytes(line: Line, frames: list[str], sent: str) -> None:
    last = [line.paint(frame) for frame in frames][-1]
    assert last == sent


def test_erasing_is_for_default_backgrounds_only(line: Line) -> None:
    line.paint("\x1b[1;1H" + "x" * COLUMNS)
    assert line.paint("\x1b[1;5H" + " " * (COLUMNS - 4)).endswith("\x1b[K")
    line.paint("\x1b[1;1H" + "x" * COLUMNS)
    assert line.paint("\x1b[1;5H" + " " * 20) == "\x1b[;5H\x1b[20X"
    line.paint("\x1b[1;1H" + "x" * COLUMNS)
    assert line.paint("\x1b[1;5H\x1b[44m" + " " * 20 + "\x1b[0m").endswith(" " * 20)
    assert "\x1b[m" in line.paint("\x1b[1;5H" + " " * 20), "plain before erasing"


def test_a_wide_character_is_never_cut(line: Line) -> None:
    line.paint("\x1b[1;1H世界")
    line.paint("\x1b[1;2Hx")
    assert line.grid.lines()[0].startswith(" x界")
    line.paint("\x1b[1;3Hy")
    assert line.grid.lines()[0].startswith(" xy ")
    line.paint(f"\x1b[1;{COLUMNS}H世")
    assert line.grid.text[0][-1] == " "


def test_no_move_relies_on_a_character_of_unsure_width(line: Line) -> None:
    assert line.paint("\x1b[2;1H世a") == "\r\n世\r\x1b[2Ca"
    assert line.paint("\x1b[3;1He\u0301a") == "\r\ne\u0301\r\x1b[Ca"


def test_scrolled_rows_are_moved(line: Line) -> None:
    text = [f"row {n} is like no other {n * 7919:6}" for n in range(20)]

    def frame(first: int) -> str:
        return "".join(f"\x1b[{y + 2};1H{text[first + y]}" for y in range(10))

    line.paint(frame(0))
    assert len(line.paint(frame(1))) < 60
    assert len(line.paint(frame(3))) < 100
    assert len(line.paint(frame(2))) < 60


def test_a_limit_stops_after_a_row_and_goes_on_there(line: Line) -> None:
    line.painter.feed("".join(f"\x1b[{y + 1};1H{'abc' * 5}{y}" for y in range(ROWS)))
    first = line.encoder.encode(line.grid, 40)
    assert "abc2" in first
    assert "abc3" not in first
    # What changed above meanwhile waits for its turn.
    line.painter.feed("\x1b[1;1HXYZ")
    second = line.encoder.encode(line.grid, 40)
    assert "abc3" in second
    assert "XYZ" not in second
    line.stream.feed(first + second)
    while rest := line.encoder.encode(line.grid, 40):
        line.stream.feed(rest)
    assert shown_on(line.screen) == shown_in(line.grid)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(frames(COLUMNS, ROWS), min_size=1, max_size=5))
def test_a_vt220_knows_all_of_it_and_it_is_ascii(steps: list[str]) -> None:
    line = Line(ascii_only=True)
    for frame in steps:
        assert VT220.fullmatch(line.paint(frame))


@settings(max_examples=100, deadline=None)
@given(
    offsets=st.lists(st.integers(0, 20), min_size=2, max_size=8),
    top=st.integers(1, 4),
    bottom=st.integers(7, ROWS),
    marked=st.integers(0, 20),
)
def test_scrolling_shows_what_was_wanted(
    offsets: list[int], top: int, bottom: int, marked: int
) -> None:
    line = Line()
    text = [f"row {n} is like no other {n * 7919:6} |" for n in range(40)]
    for offset in offsets:
        rows = ((y, offset + y) for y in range(top, bottom + 1))
        line.paint("".join(_row(y, text[n], marked=n == marked) for y, n in rows))


def _row(y: int, text: str, *, marked: bool) -> str:
    return f"\x1b[{y};1H\x1b[{44 if marked else 49}m{text}\x1b[0m"


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 60), st.integers(1, 30), st.text("ab 世", max_size=200)),
        min_size=1,
        max_size=6,
    )
)
def test_resizing(steps: list[tuple[int, int, str]]) -> None:
    line = Line()
    for columns, rows, text in steps:
        line.grid.resize(columns, rows)
        line.encoder.resize(columns, rows)
        line.screen.resize(rows, columns)
        line.stream.feed("\x1b[41mwhatever the terminal made of it")
        line.paint(text)


def test_what_content_says_to_a_terminal_stays_unsaid(line: Line) -> None:
    """As in a certificate whose subject was made to do this."""
    evil = "\x1b[2J\x1b]0;pwned\x07\x1b]52;c;cm0gLXJm\x07\x1bc\x1b[?1049l\x1bP$q\x1b\\\x07\u202ex"
    sent = line.paint("\x1b[1;1Hsafe " + evil)
    assert sent == "safe cx"


def test_bells_and_clipboards_are_their_own_writes() -> None:
    assert is_direct("\x07")
    assert is_direct("\x1b]52;c;aGVsbG8=\x07")
    assert not is_direct("text\x07")
    assert not is_direct("\x1b]52;c;aGVsbG8=\x07\x1b[H")


@pytest.mark.parametrize("number", ["9" * 60, "9" * 5000, "²", "-1"])
def test_absurd_positions(line: Line, number: str) -> None:
    line.paint(f"\x1b[{number};{number}H\x1b[{number}mx\x1b[H")


def test_ascii_keeps_the_width() -> None:
    assert to_ascii("Müller │ 世 ✓ e\u0301…") == "M?ller | ?? + ?."


def test_what_ascii_has_not_is_marked_and_a_real_question_mark_is_not() -> None:
    grid = Grid(20, 1)
    Painter(grid, ascii_only=True).feed("Gerät? 世│")
    assert grid.lines()[0].startswith("Ger?t? ??|")
    marked = [index for index, look in enumerate(grid.looks[0]) if look.flags & REVERSE]
    assert marked == [3, 7, 8]
