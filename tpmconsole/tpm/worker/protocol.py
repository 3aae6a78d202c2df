"""The messages between the console and its TPM worker, and the decoding of answers.

An answer is a line of JSON. A job is the length of its JSON, that JSON, and then its secrets as raw
bytes: a decoder would leave copies of them that cannot be wiped.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tpmconsole.inputs import parse_json
from tpmconsole.secret import Password, Secret
from tpmconsole.tpm.model import (
    Clock,
    Hierarchy,
    Lockout,
    PersistentKey,
    Room,
    SelfTest,
    SelfTestResult,
    TpmHealth,
)

# Far longer than any answer; a longer line means that something else writes to the pipe.
LINE_LIMIT = 4 * 1024 * 1024
_BYTES, _SECRET = "$bytes", "$secret"
_LENGTH_BYTES = 4


def encode(message: dict[str, Any]) -> bytes:
    """Encode a message as one line; it may contain bytes."""
    return json.dumps(message, default=_from_bytes, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Decode a line from ``encode``.

    Raises:
        ValueError: the line is not a message.
    """
    message = parse_json(line, _to_bytes)
    if not isinstance(message, dict):
        raise ValueError("not a message")  # noqa: TRY004 - bad data, not a bad call
    return message


def _from_bytes(value: Any) -> dict[str, str]:
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _to_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value[_BYTES]) if _BYTES in value else value


@dataclass(frozen=True, slots=True)
class Job:
    """A job for the worker; ``secrets`` are those in the message."""

    message: dict[str, Any]
    secrets: Sequence[Secret]

    def wipe(self) -> None:
        """Overwrite its secrets with zeros."""
        for one in self.secrets:
            one.wipe()


class Source(Protocol):
    """An unbuffered file: it keeps no copy of what was read."""

    def readinto(self, buffer: Any, /) -> int | None: ...


def pack(message: dict[str, Any]) -> list[Password]:
    """Encode a job as parts to write one after the other."""
    secrets: list[Secret] = []

    def replaced(value: Any) -> dict[str, Any]:
        if isinstance(value, Secret):
            secrets.append(value)
            return {_SECRET: len(value)}
        return _from_bytes(value)

    text = json.dumps(message, default=replaced, separators=(",", ":")).encode()
    return [len(text).to_bytes(_LENGTH_BYTES, "big") + text, *secrets]


def read_job(source: Source) -> Job:
    """Read the next job from ``pack``.

    Raises:
        EOFError: the console closed the pipe.
        ValueError: the input is not a job.
    """
    length = int.from_bytes(_filled(source, bytearray(_LENGTH_BYTES)), "big")
    if length > LINE_LIMIT:
        raise ValueError("not a job")
    secrets: list[Secret] = []

    def restored(value: dict[str, Any]) -> Any:
        if _SECRET not in value:
            return _to_bytes(value)
        secrets.append(Secret(value[_SECRET]))  # in the order in which they were replaced
        return secrets[-1]

    message = parse_json(_filled(source, bytearray(length)), restored)
    for one in secrets:
        _filled(source, one)
    return Job(message, secrets)


def _filled(source: Source, buffer: bytearray) -> bytearray:
    rest = memoryview(buffer)
    while rest:
        count = source.readinto(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return buffer


def self_test(data: dict[str, Any]) -> SelfTest:
    """The worker's answer as a ``SelfTest``."""
    return SelfTest(
        **data
        | {"result": SelfTestResult(data["result"]), "untested": tuple(data.get("untested", ()))}
    )


def persistent_key(data: dict[str, Any]) -> PersistentKey:
    """The worker's answer as a ``PersistentKey``."""
    return PersistentKey(**data | {"attributes": tuple(data["attributes"])})


def health(data: dict[str, Any]) -> TpmHealth:
    """The worker's answer as a ``TpmHealth``."""
    lockout, clock = data["lockout"], data["clock"]
    handles = data["persistent_handles"]
    return TpmHealth(
        **data
        | {
            "self_test": self_test(data["self_test"]),
            "lockout": lockout and Lockout(**lockout),
            "hierarchies": {name: Hierarchy(**one) for name, one in data["hierarchies"].items()},
            "persistent": data["persistent"] and Room(**data["persistent"]),
            "transient": data["transient"] and Room(**data["transient"]),
            "algorithms": tuple(data["algorithms"]),
            "curves": tuple(data["curves"]),
            "pcrs": {
                bank: {int(index): digest for index, digest in values.items()}
                for bank, values in data["pcrs"].items()
            },
            "clock": clock and Clock(**clock),
            "persistent_handles": handles if handles is None else tuple(handles),
        }
    )
