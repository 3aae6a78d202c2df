"""One line of JSON at a time between the console and its TPM worker, and the answers decoded."""

from __future__ import annotations

import base64
import json
from typing import Any

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

# Far above any answer; more means that something else writes into the pipe.
LINE_LIMIT = 4 * 1024 * 1024
_BYTES = "$bytes"


def encode(message: dict[str, Any]) -> bytes:
    """A message as one line; bytes anywhere in it survive."""
    return json.dumps(message, default=_from_bytes, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message that ``encode`` made.

    Raises:
        ValueError: the line is no message.
    """
    message = json.loads(line, object_hook=_to_bytes)
    if not isinstance(message, dict):
        raise ValueError("not a message")  # noqa: TRY004 - bad data, not a bad call
    return message


def _from_bytes(value: Any) -> dict[str, str]:
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    raise TypeError(f"{type(value).__name__} does not travel")


def _to_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value[_BYTES]) if _BYTES in value else value


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
