"""The answers of ``--json`` as JSON Schemas, made from the table in ``fields.txt``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from tpmconsole.errors import usage_error

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LINE = re.compile(r"( *)(\(?)([^\s()]+)\)? (\S+) ?(.*)")
_ANY_NAME = "*"
_PLAIN: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "any": {},
}


@dataclass(slots=True)
class Field:
    """A field of an answer, with the fields inside it.

    Attributes:
        kind: its type, as ``fields.txt`` explains.
        optional: whether it is left out if it does not apply.
    """

    name: str
    kind: str
    about: str
    optional: bool
    inside: list[Field] = field(default_factory=list)


def answers() -> dict[str, list[Field]]:
    """The fields of each command's answer."""
    blocks: dict[str, list[Field]] = {}
    path: list[list[Field]] = []
    for line in files(__package__).joinpath("fields.txt").read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        if not depth:
            path = [blocks.setdefault(text, [])]
        elif text.startswith("+"):
            path[depth - 1] += blocks[f"={text[1:]}"]
        else:
            found = _LINE.fullmatch(line)
            assert found is not None, line  # noqa: S101  (our own table)
            one = Field(found[3], found[4], found[5], bool(found[2]))
            path[depth - 1].append(one)
            path[depth:] = [one.inside]
    return {name: inside for name, inside in blocks.items() if not name.startswith("=")}


def schema_of(command: str) -> dict[str, Any]:
    """The JSON Schema of a command's answer.

    Raises:
        ConsoleError: there is no such command.
    """
    known = answers()
    if command not in known:
        raise usage_error(
            "Unknown command",
            f"'{command}' has no answer in JSON",
            f"use one of: {', '.join(known)}",
        )
    simulated = Field("simulated", "boolean", "it is about the simulated TPM", optional=False)
    inside = [simulated, *(one for one in known[command] if one.name != simulated.name)]
    return {"$schema": DIALECT, "title": f"tpmconsole {command} --json", **_object(inside)}


def _object(inside: list[Field]) -> dict[str, Any]:
    named = [one for one in inside if one.name != _ANY_NAME]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {one.name: _field(one) for one in named},
        "required": [one.name for one in named if not one.optional],
    }
    others = [one for one in inside if one.name == _ANY_NAME]
    return schema | ({"additionalProperties": _field(others[0])} if others else {})


def _field(one: Field) -> dict[str, Any]:
    schema = _of_kind(one.kind, one.inside)
    return schema | ({"description": one.about} if one.about else {})


def _of_kind(kind: str, inside: list[Field]) -> dict[str, Any]:
    if kind.endswith("?"):
        return {"anyOf": [_of_kind(kind[:-1], inside), {"type": "null"}]}
    if kind.endswith("[]"):
        return {"type": "array", "items": _of_kind(kind[:-2], inside)}
    if kind in ("object", "map"):
        return _object(inside)
    return dict(_PLAIN[kind]) if kind in _PLAIN else {"enum": kind.split("|")}


def described(inside: list[Field], depth: int = 0) -> Iterator[tuple[int, Field]]:
    """Every field with its depth, for people to read."""
    for one in inside:
        yield depth, one
        yield from described(one.inside, depth + 1)
