"""What people type: addresses, numbers and paths."""

from __future__ import annotations

import pytest

from tpmconsole.errors import ConsoleError
from tpmconsole.inputs import (
    Target,
    address_text,
    parse_address,
    parse_number,
    parse_target,
    user_path,
    without_zone,
)


@pytest.mark.parametrize(
    "text",
    [
        *("x", "x:", ":1", "x:65536", "x:²", "x:" + "9" * 5000, "x:-1", ""),
        *("a..b:1", ".local:1", "x" * 64 + ".local:1"),
        *("[gateway]:1", "[::1:1", "[fe80::1]:1", "[fe80::1%]:1", "gateway%eth0:1", "[::g]:1"),
        *("https://gateway:1", "gateway:1/x", "10.0.0.1%eth0:1"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConsoleError):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("gateway.local:8443") == ("gateway.local", 8443)
    assert parse_address("[::1]:0") == ("::1", 0)
    assert parse_address("gateway.local.:1") == ("gateway.local.", 1)


def test_an_address_on_a_link_has_its_interface() -> None:
    host, port = parse_address("[fe80::1%eth0]:8443")
    assert (host, port) == ("fe80::1%eth0", 8443)
    assert parse_address(address_text(host, port)) == (host, port)
    assert without_zone(host) == "fe80::1"
    assert without_zone("10%.example") == "10%.example"
    with pytest.raises(ConsoleError, match="No interface named"):
        parse_address("[fe80::1]:8443")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("gateway:8443", Target("gateway", 8443)),
        ("https://gateway:8443", Target("gateway", 8443, "https", "/")),
        ("HTTPS://gateway", Target("gateway", 443, "https", "/")),
        ("https://[::1]", Target("::1", 443, "https", "/")),
        ("https://[fe80::1%25eth0]:1/a", Target("fe80::1%eth0", 1, "https", "/a")),
        ("https://gateway:1/a/b?c=d#e", Target("gateway", 1, "https", "/a/b?c=d")),
        ("https://gateway:1?c", Target("gateway", 1, "https", "/?c")),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    ["http://gateway:1", "tls://gateway:1", "https://", "https://u:p@gateway", "https://x:0x1/"],
)
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ConsoleError, match="Not an address"):
        parse_target(text)


@pytest.mark.parametrize("text", ["", "²", "1.5", "-1", "9" * 5000])
def test_what_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize("text", ["", "~nobody-of-that-name/x", "a\0b"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ConsoleError):
        user_path(text)
