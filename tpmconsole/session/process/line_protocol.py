"""The protocol inside a session's connections: one command per line."""

from __future__ import annotations

import re
from datetime import UTC, datetime

LINE_BYTES = 1024
UNKNOWN = "ERROR unknown command"
TOO_LONG = "ERROR line too long"

_PING = re.compile(r"PING(?: (\d{1,19}))?", re.ASCII)
_HTTP_LINE = re.compile(rb".*[ \t]HTTP/\d(?:\.\d)?[ \t]*", re.DOTALL)
_HTTP_START = re.compile(rb"[A-Z]{3,10} (?:/|\*|https?://)")


def answer(line: bytes, status: str) -> str:
    """Return the server's answer to one line: ``PING n``, ``TIME`` or ``STATUS``.

    Args:
        line: without its end.
        status: the answer to ``STATUS``.
    """
    text = line.decode("ascii", "replace").strip()
    ping = _PING.fullmatch(text)
    if ping:
        return f"PONG {ping[1]}" if ping[1] else "PONG"
    if text == "TIME":
        return datetime.now(UTC).isoformat(timespec="milliseconds")
    return status if text == "STATUS" else UNKNOWN


def begins_http(line: bytes) -> bool:
    """Whether a client's first line asks for HTTP, in any version and however badly."""
    return _HTTP_LINE.fullmatch(line) is not None


def may_be_http(start: bytes) -> bool:
    """Whether a first line that is too long to be read begins like an HTTP request."""
    return _HTTP_START.match(start) is not None
