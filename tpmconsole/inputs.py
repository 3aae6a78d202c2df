"""Addresses, numbers and paths as people write them, and files of JSON and TOML."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
        if text == "~" or text.startswith("~/"):
            return home_folder() / text[2:]
        return Path(text).expanduser()
    except RuntimeError as error:
        raise usage_error(
            "No such user", f"'{text}' names the home of nobody", "write the whole path"
        ) from error


def home_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """This user's home: HOME where it names a folder, else what /etc/passwd says.

    An empty HOME (cron, some service managers) would make the root directory a home.

    Raises:
        RuntimeError: neither tells.
    """
    home = environment.get("HOME", "")
    if home.startswith("/"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError as error:
        raise RuntimeError("no home") from error


def parse_json(
    text: str | bytes | bytearray, object_hook: Callable[[dict[str, Any]], Any] | None = None
) -> Any:
    """What JSON says; no NaN and no infinity, which JSON (RFC 8259, 6) does not have.

    Args:
        object_hook: makes something else of each object.

    Raises:
        ValueError: it is none, or nested so deep that nobody can have meant it.
    """
    try:
        return json.loads(text, object_hook=object_hook, parse_constant=_no_number)
    except RecursionError as error:
        raise _too_deep() from error


def parse_toml(text: str) -> dict[str, Any]:
    """What TOML says; errors as ``parse_json``."""
    import tomllib  # most boards have no file of it, and the first paint is waiting

    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise _too_deep() from error


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON's")


def _too_deep() -> ValueError:
    return ValueError("its brackets are nested too deep")
