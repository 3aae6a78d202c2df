"""Check data against a JSON Schema; supports the keywords that our schemas use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_KNOWN = {
    *("$schema", "title", "description", "format", "type", "enum", "anyOf", "items"),
    *("properties", "required", "additionalProperties"),
}


def faults(data: Any, schema: Mapping[str, Any], place: str = "$") -> Iterator[str]:
    """Yield what is wrong, with its place; a name that is not in the schema is wrong too."""
    assert set(schema) <= _KNOWN, f"{place}: nobody here knows {set(schema) - _KNOWN}"
    if "anyOf" in schema:
        tried = [list(faults(data, one, place)) for one in schema["anyOf"]]
        if all(tried):
            yield from min(tried, key=len)
        return
    if "enum" in schema and data not in schema["enum"]:
        yield f"{place}: {data!r} is not one of {schema['enum']}"
    if "type" in schema:
        right = isinstance(data, _TYPES[schema["type"]])
        if not right or (isinstance(data, bool) and schema["type"] != "boolean"):
            yield f"{place}: {data!r} is not of type {schema['type']}"
            return
    if isinstance(data, list):
        for index, one in enumerate(data):
            yield from faults(one, schema.get("items", {}), f"{place}[{index}]")
    elif isinstance(data, dict) and "properties" in schema:
        missing = [name for name in schema["required"] if name not in data]
        yield from (f"{place}: {name} is missing" for name in missing)
        for name, one in data.items():
            inside = schema["properties"].get(name, schema.get("additionalProperties"))
            if inside is None:
                yield f"{place}: {name} is not documented"
            else:
                yield from faults(one, inside, f"{place}.{name}")
