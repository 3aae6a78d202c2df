"""The settings that tpmconsole.toml may have; any other is reported with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tpmconsole.errors import ConsoleError, usage_error

_TYPES: dict[type, str] = {str: 'text, such as "a"', bool: "true or false", int: "a number"}
# By table; "" is the top of the file. Without a type: checked by the part that uses the setting.
TABLES: Mapping[str, Mapping[str, type | None]] = {
    "": {"tcti": str, "simulate": bool, "line": str, "warn_days": None},
    "request": {"subject": None, "san": None, "role": None, "string_type": None},
    "kiosk": {"quiet_s": None, "page_s": None, "leave": None},
}


def check_names(options: Mapping[str, Any], text: str, path: Path) -> None:
    """Refuse a setting that nothing reads: the user who wrote it relies on it.

    Args:
        options: the parsed file.
        text: the file itself, to find the line.
        path: where it is.

    Raises:
        ConsoleError: a setting is unknown or of the wrong type.
    """
    for table, name, value in _all(options):
        known = TABLES[table]
        if name not in known and not (table == "" and name in TABLES):
            raise _unknown(table, name, _place(text, path, table, name))
        wanted = known.get(name)
        if wanted is not None and not isinstance(value, wanted):
            raise usage_error(
                "Settings not usable",
                f"{_place(text, path, table, name)}: {name} is {value!r}",
                f"write {_TYPES[wanted]}",
            )


def _all(options: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for name, value in options.items():
        yield "", name, value
        if name in TABLES and isinstance(value, Mapping):
            yield from ((name, inner, one) for inner, one in value.items())


def _unknown(table: str, name: str, place: str) -> ConsoleError:
    where = f" in [{table}]" if table else ""
    here = [*TABLES[table], *(() if table else TABLES)]
    close = get_close_matches(name, here, n=1, cutoff=0.6)
    names = [one for one in here if one]
    remedy = f"write {close[0]}" if close else f"use one of {', '.join(names)}"
    # The right name in the wrong place.
    for other, known in TABLES.items():
        if name in known and other != table:
            remedy = f"write it below [{other}]" if other else "write it above the first [table]"
    return usage_error("Unknown setting", f"{place}: there is no {name}{where}", remedy)


def _place(text: str, path: Path, table: str, name: str) -> str:
    """The path of the file, and the line of a setting if it can be found."""
    quoted = rf"\s*[\"']?{re.escape(name)}[\"']?\s*"
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*[\"']?([^\"'\]]+?)[\"']?\s*\]", line)
        if header:
            current = header[1]
        if (header and not table and header[1] == name) or (
            current == table and re.match(rf"{quoted}[=.]", line)
        ):
            return f"{path}, line {number}"
    return str(path)
