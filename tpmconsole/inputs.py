"""Addresses, numbers and paths as people write them."""

from __future__ import annotations

from pathlib import Path

from tpmconsole.errors import usage_error

CERTIFICATE_BYTES = 1024 * 1024  # the most that is read of a file of certificates


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 host in brackets; a server may ask for port 0, any that is free.

    Raises:
        ConsoleError: it is none.
    """
    host, colon, port = text.rpartition(":")
    number = parse_number(port) if colon and host else None
    if number is None or number > 65535:
        raise usage_error(
            "Not an address", f"'{text}' is no HOST:PORT", "write it as gateway.local:8443"
        )
    try:
        host.encode("idna")  # as looking it up will: each part has 1 to 63 letters
    except UnicodeError as error:
        raise usage_error(
            "Not an address",
            f"'{host}' is no host name: a part between its dots is missing, too long or no word",
            "write it as gateway.local:8443",
        ) from error
    return host.removeprefix("[").removesuffix("]"), number


def address_text(host: str, port: int) -> str:
    """``HOST:PORT``, an IPv6 address in brackets: what ``parse_address`` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_number(text: str) -> int | None:
    """A whole number of at most nine digits; None for everything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def user_path(text: str) -> Path:
    """A path as a user types it; ``~`` is the home directory.

    Raises:
        ConsoleError: it is empty, holds a NUL, or names the home of a user who does not exist.
    """
    if not text or "\0" in text:
        raise usage_error("No file named", "the name of the file is missing", "type its path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise usage_error(
            "No such user", f"'{text}' names the home of nobody", "write the whole path"
        ) from error
