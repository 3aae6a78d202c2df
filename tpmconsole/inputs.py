"""Parses addresses, numbers and paths as users write them, and JSON and TOML."""

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
CERTIFICATE_BYTES = 1024 * 1024  # at most this much is read from a file of certificates


class Target(NamedTuple):
    """A client's server; protocol and path are None if the text did not contain them."""

    host: str
    port: int
    protocol: str | None = None
    path: str | None = None


def parse_address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT, an IPv6 host in brackets; port 0 lets a server take any free port.

    A link-local IPv6 address includes its interface: ``[fe80::1%eth0]:8443`` (RFC 4007, 11).

    Raises:
        ConsoleError: it is not an address.
    """
    host, colon, port = text.rpartition(":")
    number = parse_number(port) if colon and host and "/" not in text else None
    if number is None or number > 65535:
        raise usage_error(
            "Not an address",
            f"'{text}' is not HOST:PORT with a port up to 65535",
            "write it as gateway.local:8443",
        )
    if host.startswith("[") or "%" in host:
        return _ipv6(host), number
    try:
        host.encode("idna")  # as the look-up will: each part has 1 to 63 letters
    except UnicodeError as error:
        raise usage_error(
            "Not an address",
            f"'{host}' is not a host name: a part between dots is missing, too long or not valid",
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
            f"'{address}' is a link-local address, which exists on every network of this board",
            f"name the interface that leads to it, as in [{address}%eth0]:8443",
        )
    return address


def parse_target(text: str) -> Target:
    """Parse a client's server: HOST:PORT, or a URL like ``https://gateway.local:8443/status``.

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
    """Format ``HOST:PORT``, an IPv6 address in brackets, as ``parse_address`` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_zone(host: str) -> str:
    """A host without its interface, which peers and certificates do not know."""
    return host.partition("%")[0] if ":" in host else host


def parse_number(text: str) -> int | None:
    """Parse a whole number of at most nine digits; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def user_path(text: str) -> Path:
    """Parse a path as a user types it; ``~`` is the home directory.

    Raises:
        ConsoleError: it is empty, contains a NUL, or names the home of a user who does not exist.
    """
    if not text or "\0" in text:
        raise usage_error("No file named", "the name of the file is missing", "type its path")
    try:
        if text == "~" or text.startswith("~/"):
            return home_folder() / text[2:]
        return Path(text).expanduser()
    except RuntimeError as error:
        raise usage_error(
            "No such user", f"'{text}' is the home of an unknown user", "write the whole path"
        ) from error


def home_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """This user's home: HOME if it is an absolute path, otherwise from /etc/passwd.

    An empty HOME (cron, some service managers) would make the root directory a home.

    Raises:
        RuntimeError: neither has one.
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
    """Parse JSON; NaN and infinity are refused, since JSON (RFC 8259, 6) does not have them.

    Args:
        object_hook: converts each object.

    Raises:
        ValueError: it is not JSON, or is nested too deeply to be intended.
    """
    try:
        return json.loads(text, object_hook=object_hook, parse_constant=_no_number)
    except RecursionError as error:
        raise _too_deep() from error


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML; errors as ``parse_json``."""
    import tomllib  # here: most boards have no TOML file, and it would delay the first paint

    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise _too_deep() from error


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _too_deep() -> ValueError:
    return ValueError("its brackets are nested too deeply")
