"""Bytes from the line become keys, pastes or nothing, and never an exception."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tpmconsole.ui.terminal.input.decoder import Delays, InputDecoder
from tpmconsole.ui.terminal.input.keys import KeyTranslator
from tpmconsole.ui.terminal.input.paste import Token

PEM = b"-----BEGIN CERTIFICATE-----\r" + b"MIIBqDCCAU6gAwIBAgIUQ12q\r" * 8 + b"-----END CERT-----\r"


def tokens(*reads: bytes, hold: float = 0.0) -> list[Token]:
    """What the decoder makes of some reads, and of silence after them."""
    decoder = InputDecoder(Delays(hold=hold))
    found = [token for read in reads for token in decoder.feed(read)]
    while decoder.wait is not None:
        found += decoder.timeout()
    return found


def keys(*reads: bytes, hold: float = 0.0, mouse: bool = False) -> list[str]:
    """The names of the keys, or of the other events."""
    translator = KeyTranslator(mouse=mouse)
    return [
        getattr(event, "key", type(event).__name__)
        for token in tokens(*reads, hold=hold)
        for event in translator.translate(token)
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\r\x7f\x08\t", ["a", "enter", "backspace", "backspace", "tab"]),
        (b"\x1b", ["escape"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\x1b[A\x1bOB", ["up", "down"]),
        (b"\x1b[1~\x1b[4~\x1b[5~\x1b[6~", ["home", "end", "pageup", "pagedown"]),
        (b"\x1bOP\x1b[17~\x1b[21~\x1b[[A", ["f1", "f6", "f10", "f1"]),
        (b"\x1b[28~", ["f1"]),  # Help on a VT220
        (b"\x9bA\x8fP", ["up", "f1"]),  # 8-bit controls
        (b"\x1b[7$", ["shift+home"]),  # rxvt: ends like nothing else does
        (
            b"\x1b[7~\x1b[8~\x1b[7^\x1b[8^\x1bOb",
            ["home", "end", "ctrl+home", "ctrl+end", "ctrl+down"],
        ),
        (b"\x1b[1;3F\x1b[1;3A", ["alt+end", "alt+up"]),  # no Escape, which closes dialogs
        (b"\x1bx\x1b1\x1bf", ["alt+x", "alt+1", "ctrl+right"]),
        (b"\x1b[", ["alt+left_square_bracket"]),
        ("é世".encode(), ["é", "世"]),
    ],
)
def test_keys(data: bytes, expected: list[str]) -> None:
    assert keys(data) == expected
    assert keys(*(data[i : i + 1] for i in range(len(data)))) == expected


@pytest.mark.parametrize(
    "noise",
    [
        b"\xff\xfe\x80\x00",
        b"\x11\x13",  # XON, XOFF
        b"\x1b[?62;1;2;6;7;8;9c",  # DA of a VT220
        b"\x1b[>1;10;0c\x1b[24;80R\x1b[0n",
        b"\x1b[?2026;2$y\x1b[4;1$y",
        b"\x1b]11;rgb:0000/1234/ffff\x07\x1b]10;rgb:1/2/3\x1b\\",
        b"\x1bP>|XTerm(388)\x1b\\\x1bP1$r0m\x1b\\",
        b"\x1b_Gi=1;OK\x1b\\",
        b"\x1b[I\x1b[O",
        b"\x1b[<0;12;3M\x1b[M !!",
        b"\x1b[1;99Q\x1b[99;99~",
    ],
)
def test_nothing_is_typed(noise: bytes) -> None:
    assert keys(noise) == []
    assert keys(noise, b"q", noise) == ["q"]
    assert keys(*(noise[i : i + 1] for i in range(len(noise)))) == []


def test_noise_inside_a_key_spoils_that_key_only() -> None:
    assert keys(b"\x1b[1;\xff5A\xe2q") == ["ctrl+up", "q"]
    assert keys(b"\x1b[\rq") == ["enter", "q"]


def test_a_string_without_end_is_let_go() -> None:
    assert keys(b"\x1b]52;c;" + b"A" * 9000, b"B" * 9000) == []
    assert keys(b"\x1b]junk\x1b[A") == ["up"]


def test_mouse_only_where_wanted() -> None:
    assert keys(b"\x1b[<0;12;3M", mouse=True) == ["MouseDown"]
    assert keys(b"\x1b[<0;12;3M") == []


def test_a_character_that_comes_in_pieces() -> None:
    decoder = InputDecoder(Delays())
    assert decoder.feed(b"\xe4\xb8") == []
    assert decoder.feed(b"\x96") == [Token("char", "世")]


@pytest.mark.parametrize("hold", [0.0, 0.02])
@pytest.mark.parametrize("size", [1, 7, 100000])
def test_bracketed_paste(size: int, hold: float) -> None:
    data = b"\x1b[200~" + PEM + b"\x1b[201~q"
    reads = [data[i : i + size] for i in range(0, len(data), size)]
    found = tokens(*reads, hold=hold)
    assert [token.kind for token in found] == ["paste", "char"]
    assert found[0].text == PEM.decode().replace("\r", "\n")


def test_a_paste_whose_end_is_lost_ends_by_itself() -> None:
    decoder = InputDecoder(Delays(paste=1.0))
    assert decoder.feed(b"\x1b[200~abc\x1b[20") == []
    assert decoder.wait == 1.0
    assert decoder.timeout() == [Token("paste", "abc[20")]
    assert decoder.feed(b"q") == [Token("char", "q")]


def test_no_escape_survives_a_paste() -> None:
    assert tokens(b"\x1b[200~a\x1b[2Jb\x07\x1b[201~")[0].text == "a[2Jb"


@pytest.mark.parametrize("size", [3, 16, 100000])
def test_a_paste_without_brackets_is_no_typing(size: int) -> None:
    """As a serial line delivers it: a few bytes at a time."""
    reads = [PEM[i : i + size] for i in range(0, len(PEM), size)]
    found = tokens(*reads, hold=0.02)
    assert [token.kind for token in found] == ["paste"]
    assert found[0].text == PEM.decode().replace("\r", "\n")


def test_a_paste_without_brackets_in_one_read() -> None:
    assert keys(PEM) == ["Paste"]


@pytest.mark.parametrize(
    "typed", [b"jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj", b"ab\r", b"12345678"]
)
def test_typing_that_comes_late_is_typing(typed: bytes) -> None:
    assert len(keys(typed, hold=0.02)) == len(typed)


def test_how_long_to_wait() -> None:
    decoder = InputDecoder(Delays(escape=0.1, hold=0.02))
    assert decoder.wait is None
    decoder.feed(b"a")
    assert decoder.wait == 0.02
    decoder.timeout()
    decoder.feed(b"\x1b[")
    assert decoder.wait == 0.1
    decoder.timeout()
    assert decoder.wait is None


# What makes a decoder stumble; plain random bytes seldom do.
stumbling_blocks = (
    *(b"\x1b", b"\x1b[", b"\x1bO", b"\x1b]", b"\x1bP", b"\x1b\\", b"\x1b[200~", b"\x1b[201~"),
    *(b";", b"1", b"$", b"y", b"M", b"m", b"<", b"~", b"[[", b"\r", b"\x07", b"\x9b", b"\xe2"),
)
noises = st.lists(st.one_of(st.binary(max_size=6), st.sampled_from(stumbling_blocks)), max_size=60)


@settings(max_examples=300, deadline=None)
@given(noise=noises)
@example(noise=[b"\x1b", b"[[", b" ", b" "])
def test_random_bytes(noise: list[bytes]) -> None:
    """Nothing raises, nothing is held forever, and the division into reads does not matter."""
    together = tokens(b"".join(noise), hold=0.02)
    assert tokens(*noise, hold=0.02) == together
    translator = KeyTranslator(mouse=True)
    for token in together:
        list(translator.translate(token))
        if token.kind in ("char", "paste"):
            token.text.encode()
            assert not set(token.text) & {"\x00", "\x11", "\x13", "\ufffd"}
