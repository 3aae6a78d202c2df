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
    """Subject alternative names out of ``KIND:NAME``; the same one twice counts once.

    Raises:
        ConsoleError: an entry has no known kind, or its name is none of that kind.
    """
    unique = list(dict.fromkeys(entries))
    if len(unique) > MAX_ENTRIES:
        cause = f"there are {len(unique)} of them, more than {MAX_ENTRIES}"
        raise usage_error("Too many alternative names", cause, "make several identities")
    return [_parse(entry) for entry in unique]


def unmatched(name: x509.GeneralName) -> str | None:
    """Why no client can compare a server's name with this one (RFC 9525, 6); None where one can."""
    if isinstance(name, x509.IPAddress):
        # An IPv4Network or so is no address of anybody: only name constraints have them.
        address = ipaddress.ip_address(str(name.value).partition("/")[0])
        nobodys = address.is_unspecified or address.is_multicast
        return f"'ip:{address}': no server is reached by that address" if nobodys else None
    if not isinstance(name, x509.DNSName):
        return "it is no DNS name or IP address"
    try:
        # Clients do take an underscore, which no request of ours asks for.
        _dns(f"dns:{name.value}", name.value.replace("_", "a"))
    except ConsoleError as error:
        return error.cause
    # OpenSSL wants two labels after the wildcard, lest it stand for a whole top-level domain.
    if name.value.startswith("*.") and name.value.count(".") < 2:
        return f"'dns:{printable(name.value)}': a wildcard needs two labels after it"
    return None


@dataclass(frozen=True, slots=True)
class Reached:
    """Where clients reach a server.

    Attributes:
        host: the name or address that they connect to.
        where: how that is known, in words that follow it.
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
        raise _bad(entry, f"it begins with none of {kinds}", "write it as dns:gateway.local")
    return parse(entry, value)


def _dns(entry: str, value: str) -> x509.GeneralName:
    # A wildcard stands for one label, the first, and for nothing else (RFC 9525, 6.3).
    labels = value.removeprefix("*.").split(".")
    if not value.isascii():
        raise _bad(entry, "a certificate holds ASCII names only", _ascii_form(value))
    if len(value) > _DNS_CHARACTERS:
        raise _bad(entry, f"a host name has at most {_DNS_CHARACTERS} characters", "shorten it")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad(
            entry,
            "a host name is letters, digits and hyphens with dots between",
            "write it as dns:gateway.local",
        )
    if labels[-1].isdigit():
        raise _bad(entry, "it looks like an address", f"write it as ip:{value}")
    return x509.DNSName(value)


def _ascii_form(value: str) -> str:
    try:
        return f"write it as dns:{value.encode('idna').decode('ascii')}"
    except UnicodeError:
        return "write the name as DNS holds it (xn--...)"


def _ip(entry: str, value: str) -> x509.GeneralName:
    try:
        address = ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        raise _bad(
            entry, "it is no IP address", "write it as ip:192.0.2.7 or ip:fe80::1"
        ) from error
    if getattr(address, "scope_id", None):
        raise _bad(entry, "an interface (%...) has no place in a certificate", "leave it out")
    return x509.IPAddress(address)


def _uri(entry: str, value: str) -> x509.GeneralName:
    remedy = "write it as uri:https://gateway.local/ or uri:urn:dev:mac:0024befffe804ff1"
    if len(value) > _URI_CHARACTERS:
        raise _bad(entry, f"a URI has at most {_URI_CHARACTERS} characters here", "shorten it")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise _bad(entry, "a URI is ASCII without blanks", "escape other characters as %XX")
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise _bad(entry, "it is no URI", remedy) from error
    # RFC 5280, 4.2.1.6: absolute, with a scheme and something that is specific to it.
    if not parts.scheme or not (parts.netloc or parts.path):
        raise _bad(entry, "a URI has a scheme and something after it", remedy)
    return x509.UniformResourceIdentifier(value)


def _email(entry: str, value: str) -> x509.GeneralName:
    local, at, domain = value.rpartition("@")
    good = at and _LOCAL_PART.fullmatch(local) and len(value) <= _EMAIL_CHARACTERS
    if not good or not all(_LABEL.fullmatch(label) for label in domain.split(".")):
        raise _bad(entry, "it is no e-mail address in ASCII", "write it as email:ops@example.com")
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
