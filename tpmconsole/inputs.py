"""Handles and addresses as people write them."""

from __future__ import annotations

from tpmconsole.errors import usage_error


def parse_handle(text: str) -> int:
    """A persistent handle as people write it.

    Raises:
        ConsoleError: it is no number, or outside 0x81000000 to 0x81ffffff (TPM 2.0 Part 2, 7.4).
    """
    try:
        handle = int(text, 16)
    except ValueError:
        handle = -1
    if not 0x81000000 <= handle <= 0x81FFFFFF:
        raise usage_error(
            "Not a persistent handle",
            f"'{text}' is none",
            "use one from 0x81000000 to 0x817fffff, such as 0x81000010",
        )
    return handle


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 host in brackets; a server may ask for port 0, any that is free.

    Raises:
        ConsoleError: it is none.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise usage_error(
            "Not an address", f"'{text}' is no HOST:PORT", "write it as gateway.local:8443"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)
