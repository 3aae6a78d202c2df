"""What is said over a session's connections: commands of a line, and enough HTTP for a browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime

LINE_BYTES = 1024
HEADER_LINES = 64
UNKNOWN = "ERROR unknown command"
TOO_LONG = "ERROR line too long"

_PING = re.compile(r"PING(?: (\d{1,19}))?", re.ASCII)
_REQUEST = re.compile(rb"([A-Z]{3,10}) (\S+) HTTP/1\.[01]", re.ASCII)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?", re.DOTALL)
_LENGTH = re.compile(rb"content-length:[ \t]*(\d{1,15})[ \t]*", re.IGNORECASE)
_ALLOWED = ("GET", "HEAD")
_PATHS = ("/", "/status")


def answer(line: bytes, status: str) -> str:
    """The server's answer to one line: ``PING n``, ``TIME`` or ``STATUS``.

    Args:
        line: without its end.
        status: what ``STATUS`` is answered.
    """
    text = line.decode("ascii", "replace").strip()
    ping = _PING.fullmatch(text)
    if ping:
        return f"PONG {ping[1]}" if ping[1] else "PONG"
    if text == "TIME":
        return datetime.now(UTC).isoformat(timespec="milliseconds")
    return status if text == "STATUS" else UNKNOWN


def http_request(line: bytes) -> tuple[str, str] | None:
    """Method and path where the line begins an HTTP request (RFC 9112, 3), else None."""
    match = _REQUEST.fullmatch(line)
    if match is None:
        return None
    return match[1].decode("ascii"), match[2].decode("ascii", "replace")


def http_response(method: str, path: str, page: str) -> tuple[int, bytes]:
    """Status and whole response; the connection is closed after it."""
    if method not in _ALLOWED:
        status, words, page = 405, "Method Not Allowed", "only GET and HEAD are answered here\n"
    elif path.partition("?")[0] not in _PATHS:
        status, words, page = 404, "Not Found", "there is nothing here; try /\n"
    else:
        status, words = 200, "OK"
    body = page.encode()
    head = [
        f"HTTP/1.1 {status} {words}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(["Allow: GET, HEAD"] if status == 405 else []),
        "",
        "",
    ]
    return status, "\r\n".join(head).encode("ascii") + (b"" if method == "HEAD" else body)


def get_request(host: str, path: str) -> bytes:
    """A request for a path, after which the connection ends (RFC 9112, 9.6)."""
    head = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: tpmconsole",
        "Accept: */*",
        "Connection: close",
        "",
        "",
    ]
    return "\r\n".join(head).encode("ascii")


def response_status(line: bytes) -> int | None:
    """The status in a response's first line, None where it is no HTTP."""
    match = _STATUS_LINE.fullmatch(line)
    return int(match[1]) if match else None


def content_length(header: bytes) -> int | None:
    """How long the body is, where this header line tells it (RFC 9112, 6.2)."""
    match = _LENGTH.fullmatch(header)
    return int(match[1]) if match else None
