"""Text from files on a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpmconsole import text as texts
from tpmconsole.text import cells, harmless, printable, short


def test_plain_text_stays() -> None:
    assert printable("gateway 7, Zürich 東京") == "gateway 7, Zürich 東京"
    assert short("gateway", 7) == "gateway"


def test_what_steers_a_terminal_is_escaped() -> None:
    assert printable("a\x1b[2Jb\nc\x00") == r"a\x1b[2Jb\x0ac\x00"
    assert printable("\x9b2J") == r"\x9b2J"
    assert printable("user\u202efdp.exe") == r"user\u202efdp.exe"
    assert printable("a\u200bb\ufeffc\u2028d\U000e0041") == r"a\u200bb\ufeffc\u2028d\U000e0041"


def test_a_name_that_is_no_utf8_shows_its_bytes() -> None:
    assert printable(b"k\xff.pem".decode("utf-8", "surrogateescape")) == r"k\xff.pem"


def test_length_is_bounded() -> None:
    assert printable("x" * 1000, limit=5) == "xxxxx..."


def test_cells_of_wide_and_combining_characters() -> None:
    assert cells("東京") == 4
    assert cells("e\u0301") == 1


def test_short_counts_columns() -> None:
    assert short("identity", 6) == "ide..."
    assert short("東京都庁", 6) == "東..."
    assert short("identity", 2) == "id"
    assert short("anything", 0) == ""


@given(st.text(max_size=300), st.integers(0, 60))
def test_short_is_never_wider_and_never_steers(text: str, width: int) -> None:
    shown = short(text, width)
    assert cells(shown) <= width
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in shown)


def test_a_terminal_that_shows_ascii_alone_gets_every_character_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(texts, "_ascii_only", False)
    assert printable("Gerät-7 世") == "Gerät-7 世"
    texts.escape_non_ascii()
    assert printable("Gerät-7 世 e\u0301") == r"Ger\xe4t-7 \u4e16 e\u0301"
    assert short("Gerät", 40) == r"Ger\xe4t"
    assert harmless("a\nä") == "a\n\\xe4"
