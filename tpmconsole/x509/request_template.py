"""What the requests of a fleet have in common: the ``[request]`` table of tpmconsole.toml.

::

    [request]
    subject = "CN={serial},O=Example,C=DE"
    san = ["dns:{hostname}.example.com"]
    role = "client"
    string_type = "printable"

``string_type`` is ``utf8`` by default. A CA that is run with ``openssl ca`` and its policy_match
compares bytes, and its error does not name the reason: "The organizationName field is different
between CA certificate (Example) and the request (Example)". If its own certificate holds
PrintableString, so must the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tpmconsole.errors import ConsoleError, Remedy, usage_error
from tpmconsole.text import printable
from tpmconsole.x509.request_spec import ROLES, STRING_TYPES, UTF8, RequestSpec
from tpmconsole.x509.san import parse_san
from tpmconsole.x509.subject import parse_subject
from tpmconsole.x509.subject_forms import escaped

_PLACE = re.compile(r"\{([^{}]*)\}")
_KEYS = ("subject", "san", "role", "string_type")
_CN_CHARACTERS = 64


def default_spec(
    table: Mapping[str, Any], *, hostname: str, serial: str | None, role: str = "client"
) -> RequestSpec:
    """Return what a request asks for by default.

    Args:
        table: the ``[request]`` table; empty if there is no such table.
        hostname: for ``{hostname}``.
        serial: the board's serial number for ``{serial}``; None if it does not have one.
        role: used if the table does not set the role.

    Raises:
        ConsoleError: the table holds something that a request cannot ask for, or refers to
            something that this board does not have.
    """
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise _bad(f"'{printable(unknown[0], 40)}' is not a setting", f"use {', '.join(_KEYS)}")
    facts = {"hostname": hostname, "serial": serial}
    subject = _filled(_text(table, "subject"), facts, escaped)
    san = tuple(_filled(one, facts, str) for one in _texts(table, "san"))
    chosen = _text(table, "role") or role
    if chosen not in ROLES:
        raise _bad(f"there is no role '{printable(chosen, 40)}'", f"use one of {', '.join(ROLES)}")
    string_type = _text(table, "string_type") or UTF8
    if string_type not in STRING_TYPES:
        what = f"there is no string_type '{printable(string_type, 40)}'"
        raise _bad(what, f"use one of {', '.join(STRING_TYPES)}")
    if not subject:
        subject = f"CN={escaped((serial or hostname)[:_CN_CHARACTERS])}"
    try:
        parse_subject(subject, string_type)
        parse_san(san)
    except ConsoleError as error:
        raise _bad(error.cause, error.remedy) from error
    return RequestSpec(subject, san, chosen, string_type)


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise _bad(f"{key} is not a string", f'write it as {key} = "..."')
    return value


def _texts(table: Mapping[str, Any], key: str) -> list[str]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _bad(f"{key} is not a list of strings", f'write it as {key} = ["dns:{{hostname}}"]')
    return value


def _filled(text: str, facts: Mapping[str, str | None], write: Callable[[str], str]) -> str:
    """Fill in each ``{...}`` of a text; a value that is filled in is not expanded again."""

    def fact(found: re.Match[str]) -> str:
        if found[1] not in facts:
            known = ", ".join(f"{{{name}}}" for name in facts)
            raise _bad(f"'{printable(found[0], 40)}' has no meaning", f"use {known}")
        value = facts[found[1]]
        if not value:
            raise _bad(
                f"this board has no {found[1]} to use for {found[0]}",
                "use {hostname}, or run as root if only root may read the serial number",
            )
        return write(value)

    return _PLACE.sub(fact, text)


def _bad(cause: str, remedy: Remedy) -> ConsoleError:
    return usage_error("Template not usable", f"[request] in tpmconsole.toml: {cause}", remedy)
