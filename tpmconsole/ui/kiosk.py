"""The rules of a kiosk: ``[kiosk]`` in tpmconsole.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tpmconsole.errors import ConsoleError, usage_error

QUIET_S = 90.0
PAGE_S = 20.0
LONGEST_S = 86_400.0
# Fewer keys than these a visitor finds by chance within a week.
LEAST_KEYS = 5


@dataclass(frozen=True, slots=True)
class KioskRules:
    """What a kiosk does by itself.

    Attributes:
        quiet_s: after so many seconds without a key everything begins anew.
        page_s: seconds a page of the tour stays when it plays by itself; 0: it never does.
        leave: the keys that, pressed one after the other, end the kiosk, by Textual's names;
            without any only SIGTERM does.
    """

    quiet_s: float = QUIET_S
    page_s: float = PAGE_S
    leave: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> KioskRules:
        """The rules in the tables of tpmconsole.toml.

        Raises:
            ConsoleError: one of them cannot be right.
        """
        table = options.get("kiosk", {})
        if not isinstance(table, Mapping):
            raise _wrong("kiosk is no table", "write [kiosk]")
        unknown = sorted(set(table) - {"quiet_s", "page_s", "leave"})
        if unknown:
            raise _wrong(f"there is no {unknown[0]} in [kiosk]", "use quiet_s, page_s and leave")
        return cls(
            quiet_s=_seconds(table, "quiet_s", QUIET_S, least=5),
            page_s=_seconds(table, "page_s", PAGE_S, least=0),
            leave=_keys(table.get("leave", [])),
        )


def _seconds(table: Mapping[str, Any], name: str, default: float, least: float) -> float:
    value = table.get(name, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= LONGEST_S:
        raise _wrong(
            f"{name} in [kiosk] is no number of seconds from {least:g} to {LONGEST_S:g}",
            f"write it as {name} = {default:g}",
        )
    return float(value)


def _keys(value: Any) -> tuple[str, ...]:
    example = 'leave = ["f8", "f8", "x", "f3", "x"]'
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise _wrong("leave in [kiosk] is no list of keys", f"write it as {example}")
    if 0 < len(value) < LEAST_KEYS:
        raise _wrong(
            f"leave in [kiosk] has fewer than {LEAST_KEYS} keys: visitors would find them",
            f"take more, as in {example}",
        )
    return tuple(value)


def _wrong(cause: str, remedy: str) -> ConsoleError:
    return usage_error("Settings not usable", f"{cause} (tpmconsole.toml)", remedy)


class KeySequence:
    """Watches the keys that are pressed for a sequence of them.

    Args:
        keys: the sequence; empty for none.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = keys
        self._last: tuple[str, ...] = ()

    def pressed(self, key: str) -> bool:
        """Whether this key completes the sequence."""
        if not self._keys:
            return False
        self._last = (*self._last, key)[-len(self._keys) :]
        return self._last == self._keys
