"""Subject alternative names as people type them: ``dns:``, ``ip:``, ``uri:`` and ``email:``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509

from tpmconsole.errors import ConsoleError, usage_error
from tpmconsole.text import printable

MAX_ENTRIES = 100
_DNS_CHARACTERS = 253
_URI_CHARACTERS = 2048
_EMAIL_CHARACTERS = 254

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")


def parse_san(entries: Iterable[str]) -> list[x509.GeneralName]:
    """Parse subject alternative names of the form ``KIND:NAME``, without duplicates.

    Raises:
        ConsoleError: an entry has no known kind, or its name is not valid for its kind.
    """
    unique = list(dict.fromkeys(entries))
    if len(unique) > MAX_ENTRIES:
        cause = f"there are {len(unique)}, more than {MAX_ENTRIES}"
        raise usage_error("Too many alternative names", cause, "make several identities")
    return [_parse(entry) for entry in unique]


def unmatched(name: x509.GeneralName) -> str | None:
    """Say why a client cannot match a server against this name (RFC 9525, 6); None if it can."""
    if isinstance(name, x509.IPAddress):
        # An IPv4Network is not the address of a server: only name constraints have networks.
        address = ipaddress.ip_address(str(name.value).partition("/")[0])
        nobodys = address.is_unspecified or address.is_multicast
        return f"'ip:{address}': no server can have that address" if nobodys else None
    if not isinstance(name, x509.DNSName):
        return "it is not a DNS name or IP address"
    try:
        # Clients accept an underscore, although tpmconsole never requests one.
        _dns(f"dns:{name.value}", name.value.replace("_", "a"))
    except ConsoleError as error:
        return error.cause
    # OpenSSL requires two labels after the wildcard, so that it cannot match a top-level domain.
    if name.value.startswith("*.") and name.value.count(".") < 2:
        return f"'dns:{printable(name.value)}': a wildcard needs two labels after it"
    return None


@dataclass(frozen=True, slots=True)
class Reached:
    """Where clients reach a server.

    Attributes:
        host: the name or address that they connect to.
        where: how that is known; a text that follows the host.
    """

    host: str
    where: str


def matches(name: x509.GeneralName, host: str) -> bool:
    """Whether a client that connects to ``host`` finds it in a name (RFC 9525, 6.3 and 6.4)."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])  # the interface is the client's own
    except ValueError:
        return isinstance(name, x509.DNSName) and _same_host(name.value, host)
    return isinstance(name, x509.IPAddress) and name.value == address


def _same_host(name: str, host: str) -> bool:
    host, name = host.lower().removesuffix("."), name.lower()
    return host == name or (name.startswith("*.") and host.partition(".")[1:] == (".", name[2:]))


def _parse(entry: str) -> x509.GeneralName:
    kind, colon, value = entry.strip().partition(":")
    parse = _KINDS.get(kind.lower())
    if not colon or parse is None:
        kinds = ", ".join(f"{one}:" for one in _KINDS)
        raise _bad(entry, f"it must start with one of {kinds}", "write it as dns:gateway.local")
    return parse(entry, value)


def _dns(entry: str, value: str) -> x509.GeneralName:
    # A wildcard stands for exactly one label, the first (RFC 9525, 6.3).
    labels = value.removeprefix("*.").split(".")
    if not value.isascii():
        raise _bad(entry, "a certificate holds only ASCII names", _ascii_form(value))
    if len(value) > _DNS_CHARACTERS:
        raise _bad(entry, f"a host name has at most {_DNS_CHARACTERS} characters", "shorten it")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad(
            entry,
            "a host name consists of letters, digits, hyphens and dots",
            "write it as dns:gateway.local",
        )
    if labels[-1].isdigit():
        raise _bad(entry, "it looks like an address", f"write it as ip:{value}")
    return x509.DNSName(value)


def _ascii_form(value: str) -> str:
    try:
        return f"write it as dns:{value.encode('idna').decode('ascii')}"
    except UnicodeError:
        return "write the name in its DNS form (xn--...)"


def _ip(entry: str, value: str) -> x509.GeneralName:
    try:
        address = ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        raise _bad(
            entry, "it is not an IP address", "write it as ip:192.0.2.7 or ip:fe80::1"
        ) from error
    if getattr(address, "scope_id", None):
        raise _bad(entry, "a certificate cannot hold an interface (%...)", "leave it out")
    return x509.IPAddress(address)


def _uri(entry: str, value: str) -> x509.GeneralName:
    remedy = "write it as uri:https://gateway.local/ or uri:urn:dev:mac:0024befffe804ff1"
    if len(value) > _URI_CHARACTERS:
        raise _bad(entry, f"a URI has at most {_URI_CHARACTERS} characters here", "shorten it")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise _bad(entry, "a URI is ASCII without spaces", "escape other characters as %XX")
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise _bad(entry, "it is not a URI", remedy) from error
    # RFC 5280, 4.2.1.6: an absolute URI, with a scheme and a scheme-specific part.
    if not parts.scheme or not (parts.netloc or parts.path):
        raise _bad(entry, "a URI needs a scheme and something after it", remedy)
    return x509.UniformResourceIdentifier(value)


def _email(entry: str, value: str) -> x509.GeneralName:
    local, at, domain = value.rpartition("@")
    good = at and _LOCAL_PART.fullmatch(local) and len(value) <= _EMAIL_CHARACTERS
    if not good or not all(_LABEL.fullmatch(label) for label in domain.split(".")):
        raise _bad(entry, "it is not an ASCII e-mail address", "write it as email:ops@example.com")
    return x509.RFC822Name(value)


_KINDS: dict[str, Callable[[str, str], x509.GeneralName]] = {
    "dns": _dns,
    "ip": _ip,
    "uri": _uri,
    "email": _email,
}


def _bad(entry: str, cause: str, remedy: str) -> ConsoleError:
    shown = printable(entry, 80)
    return usage_error("Not an alternative name", f"'{shown}': {cause}", printable(remedy))
