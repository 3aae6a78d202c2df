"""What people type: addresses, numbers and paths."""

from __future__ import annotations

import pytest

from tpmconsole.errors import ConsoleError
from tpmconsole.inputs import parse_address, parse_number, user_path


@pytest.mark.parametrize(
    "text",
    [
        *("x", "x:", ":1", "x:65536", "x:²", "x:" + "9" * 5000, "x:-1", ""),
        *("a..b:1", ".local:1", "x" * 64 + ".local:1"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConsoleError):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("gateway.local:8443") == ("gateway.local", 8443)
    assert parse_address("[::1]:0") == ("::1", 0)
    assert parse_address("gateway.local.:1") == ("gateway.local.", 1)


@pytest.mark.parametrize("text", ["", "²", "1.5", "-1", "9" * 5000])
def test_what_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize("text", ["", "~nobody-of-that-name/x", "a\0b"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ConsoleError):
        user_path(text)
