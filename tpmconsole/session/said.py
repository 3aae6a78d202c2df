"""Read what a session wrote itself: as data, bounded and of known types.

A session may run as a different user from the reader, and its peer may have taken it over. So
nothing that it writes is trusted without a check: bad values are dropped, and that is reported. All
reading of a session's own files comes through here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tpmconsole.errors import ExitCode, NextStep, Remedy, remedy_from_json, remedy_to_json
from tpmconsole.inputs import parse_json
from tpmconsole.text import printable

TEXT_LENGTH = 2000
MOST_FIELDS = 40
_MOST_ITEMS = 256
_INTEGERS = 1 << 63
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
# What a next step may be about: it becomes part of a command that a user may type.
_SUBJECT = re.compile(r"[\w.:-]{0,253}", re.ASCII)
_ERROR_TEXTS = ("title", "cause", "remedy")

Data = TypeVar("Data")
Text = Callable[[str], str]


def shown(text: str) -> str:
    """Return a text that a session chose: on one line, printable, of limited length."""
    return printable(text, TEXT_LENGTH)


def unchanged(text: str) -> str:
    """Return a text of our own user as it is."""
    return text


def object_of(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: the data is not a JSON object.
    """
    found = parse_json(data)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one error for all damage
    return found


def values_of(
    kind: type, data: Mapping[str, Any], text: Text = shown
) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a dataclass with valid values in ``data``, and the names of bad ones.

    Fields that the class does not have are left out: another release may know them.
    """
    good: dict[str, Any] = {}
    bad = []
    for name, hint in _hints(kind).items():
        if name not in data:
            continue
        try:
            good[name] = _value(hint, data[name], text)
        except ValueError:
            bad.append(name)
    return good, bad


def whole(kind: type[Data], data: object, text: Text = shown) -> Data:
    """Make a dataclass; every field must be valid, and one without a default must be present.

    Raises:
        ValueError: names the fields that are not.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"not a {kind.__name__}")  # noqa: TRY004 - as above
    good, bad = values_of(kind, data, text)
    needed = {
        one.name
        for one in fields(kind)  # type: ignore[arg-type]
        if one.default is MISSING and one.default_factory is MISSING
    }
    wrong = [*bad, *(needed - good.keys() - set(bad))]
    if wrong:
        raise ValueError(f"{kind.__name__} without a valid {', '.join(wrong)}")
    return kind(**good)


@lru_cache
def _hints(kind: type) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


def _value(hint: Any, value: Any, text: Text) -> Any:
    """A value of a field's type; raises ValueError if it has another."""
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return _one_of(get_args(hint), value, text)
    if kind is tuple and isinstance(value, (list, tuple)) and len(value) <= _MOST_ITEMS:
        return tuple(_value(get_args(hint)[0], one, text) for one in value)
    if kind is Mapping and isinstance(value, Mapping) and len(value) <= _MOST_ITEMS:
        name_kind, item_kind = get_args(hint)
        return {_value(name_kind, n, text): _value(item_kind, v, text) for n, v in value.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return whole(kind, value, text)
    if issubclass(kind, Enum) and isinstance(value, str):
        return kind(value)
    return _plain(kind, value, text)


def _one_of(kinds: tuple[Any, ...], value: Any, text: Text) -> Any:
    if NextStep in kinds:
        raise ValueError("a next step is read together with its sentence")
    if value is None and NoneType in kinds:
        return None
    return _value(next(one for one in kinds if one is not NoneType), value, text)


def _plain(kind: type, value: Any, text: Text) -> Any:
    if kind is str and isinstance(value, str):
        return text(value)
    numbers: tuple[type, ...] = {int: (int,), float: (int, float)}.get(kind, ())
    is_number = isinstance(value, numbers) and not isinstance(value, bool)
    if is_number and abs(value) < _INTEGERS:  # false for NaN and infinity
        return value
    if kind is bool and isinstance(value, bool):
        return value
    raise ValueError(f"not a {kind.__name__}")


def remedy_of(data: Mapping[str, Any]) -> Remedy:
    """Return the remedy; only its sentence if the rest is not in our format."""
    sentence = data.get("remedy")
    plain = shown(sentence) if isinstance(sentence, str) else ""
    found = remedy_from_json({"next": data.get("next"), "remedy": plain})
    if isinstance(found, str):
        return plain
    if not _SUBJECT.fullmatch(found.subject):
        return plain or shown(str(found))
    return NextStep(found.action, found.subject, shown(found.text))


def event_of(line: bytes) -> dict[str, Any] | None:
    """Read a line of a session's events; None if it is not an event.

    Fields of an unknown type are left out, and ``dropped`` counts them.
    """
    try:
        data = object_of(line)
    except ValueError:
        return None
    if not isinstance(data.get("event"), str):
        return None
    event: dict[str, Any] = {"time": "-"}
    for name, value in list(data.items())[:MOST_FIELDS]:
        if _NAME.fullmatch(name) and (good := _of_event(name, value)) is not None:
            event[name] = good
    about_error = _error_in(event) if event["event"] == "error" else {}
    if "next" not in about_error:
        event.pop("next", None)
    event |= about_error
    dropped = sum(name not in event and value is not None for name, value in data.items())
    if dropped:
        event["dropped"] = dropped
    return event


def _of_event(name: str, value: Any) -> Any:
    """A value that an event may have; None for any other."""
    if name in ("time", "event", *_ERROR_TEXTS) and not isinstance(value, str):
        return None
    if name in ("peer", "next"):
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            return None
        return {shown(key): shown(one) for key, one in list(value.items())[:_MOST_ITEMS]}
    for kind in (str, bool, int, float):
        try:
            return _plain(kind, value, shown)
        except ValueError:
            continue
    return None


def _error_in(event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of every error (``ConsoleError.from_json``)."""
    texts = {name: event.get(name, "") for name in _ERROR_TEXTS}
    code = event.get("code")
    known = isinstance(code, int) and code in set(ExitCode)
    number = code if known else int(ExitCode.UNEXPECTED)
    return texts | remedy_to_json(remedy_of(event)) | {"code": number}
