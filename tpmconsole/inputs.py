"""Addresses, numbers and paths as people write them, and files of JSON and TOML."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

from tpmconsole.errors import usage_error

HTTPS_PORT = 443
CERTIFICATE_BYTES = 1024 * 1024  # the most that is read of a file of certificates


class Target(NamedTuple):
    """A client's server; protocol and path are None if the text did not contain them."""

    host: str
    port: int
    protocol: str | None = None
    path: str | None = None


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 host in brackets; a server may ask for port 0, any that is free.

    A link-local IPv6 address includes its interface: ``[fe80::1%eth0]:8443`` (RFC 4007, 11).

    Raises:
        ConsoleError: it is none.
    """
    host, colon, port = text.rpartition(":")
    number = parse_number(port) if colon and host and "/" not in text else None
    if number is None or number > 65535:
        raise usage_error(
            "Not an address", f"'{text}' is no HOST:PORT", "write it as gateway.local:8443"
        )
    if host.startswith("[") or "%" in host:
        return _ipv6(host), number
    try:
        host.encode("idna")  # as looking it up will: each part has 1 to 63 letters
    except UnicodeError as error:
        raise usage_error(
            "Not an address",
            f"'{host}' is no host name: a part between its dots is missing, too long or no word",
            "write it as gateway.local:8443",
        ) from error
    return host, number


def _ipv6(host: str) -> str:
    address = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        found = IPv6Address(address)
    except ValueError as error:
        raise usage_error(
            "Not an address",
            f"'{host}' is not an IPv6 address",
            "write it as [2001:db8::7]:8443, or as [fe80::1%eth0]:8443 on a link",
        ) from error
    if found.is_link_local and not found.scope_id:
        raise usage_error(
            "No interface named",
            f"'{address}' is a link-local address, which each of the board's networks may have",
            f"name the interface that leads to it, as in [{address}%eth0]:8443",
        )
    return address


def parse_target(text: str) -> Target:
    """A client's server: HOST:PORT, or a URL such as ``https://gateway.local:8443/status``.

    The default port of a URL is 443. An interface may also be written ``%25eth0`` (RFC 6874).

    Raises:
        ConsoleError: the text is neither.
    """
    scheme, mark, rest = text.partition("://")
    if not mark:
        return Target(*parse_address(text))
    if scheme.lower() != "https":
        raise usage_error(
            "Not an address",
            f"a session speaks TLS, not '{scheme}://'",
            "write https://HOST:PORT/PATH, or HOST:PORT",
        )
    end = next((at for at, letter in enumerate(rest) if letter in "/?#"), len(rest))
    authority = rest[:end].replace("%25", "%")
    path = rest[end:].partition("#")[0]  # a fragment is never sent (RFC 9110, 4.2.5)
    if "@" in authority:
        raise usage_error(
            "Not an address",
            "the URL contains a user or password",
            "leave it out: the session proves itself with its certificate",
        )
    has_port = ":" in authority.rpartition("]")[2]
    host, port = parse_address(authority if has_port else f"{authority}:{HTTPS_PORT}")
    return Target(host, port, "https", path if path.startswith("/") else f"/{path}")


def address_text(host: str, port: int) -> str:
    """``HOST:PORT``, an IPv6 address in brackets: what ``parse_address`` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_zone(host: str) -> str:
    """A host without its interface, which peers and certificates do not know."""
    return host.partition("%")[0] if ":" in host else host


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
