"""As much D-Bus as it takes to ask whether somebody owns a name.

busctl, dbus-send and the Python bindings are each missing on some board; the question takes one
connection and two calls (D-Bus specification, "Authentication Protocol" and "Message Protocol").
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import BinaryIO

TABRMD_NAME = "com.intel.tss2.Tabrmd"

_METHOD_CALL, _METHOD_RETURN, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _DESTINATION, _SIGNATURE = 1, 2, 3, 6, 8
_LINE_LIMIT = 1024
_MESSAGE_LIMIT = 65536


def name_has_owner(address: Path, name: str, *, timeout_s: float) -> bool:
    """Whether a program owns a name on the bus that listens at a unix socket.

    Args:
        timeout_s: seconds that each step may take.

    Raises:
        OSError: nobody listens there, it may not be opened, or what listens is no message bus.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(os.fspath(address))
        stream = connection.makefile("rb")
        uid = str(os.geteuid()).encode().hex().encode()
        connection.sendall(b"\0AUTH EXTERNAL " + uid + b"\r\n")
        if not stream.readline(_LINE_LIMIT).startswith(b"OK "):
            raise ConnectionRefusedError("the message bus refuses this user")
        connection.sendall(b"BEGIN\r\n" + _call(1, "Hello") + _call(2, "NameHasOwner", name))
        _reply(stream)
        kind, body = _reply(stream)
        if kind != _METHOD_RETURN or len(body) != 4:
            raise ConnectionError("the message bus answers with an error")
        return any(body)


def _call(serial: int, member: str, argument: str | None = None) -> bytes:
    """A method call to the bus itself, with one string or nothing as argument."""
    bus = "org.freedesktop.DBus"
    fields = [
        (_PATH, b"o", _string("/org/freedesktop/DBus")),
        (_INTERFACE, b"s", _string(bus)),
        (_MEMBER, b"s", _string(member)),
        (_DESTINATION, b"s", _string(bus)),
    ]
    body = b""
    if argument is not None:
        body = _string(argument)
        fields.append((_SIGNATURE, b"g", b"\x01s\0"))
    header = b""
    for code, kind, value in fields:
        header = _padded(header) + struct.pack("<BB", code, 1) + kind + b"\0" + value
    start = struct.pack("<cBBBIII", b"l", _METHOD_CALL, 0, 1, len(body), serial, len(header))
    return _padded(start + header) + body


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _reply(stream: BinaryIO) -> tuple[int, bytes]:
    """Type and body of the next answer; signals in between are skipped."""
    while True:
        start = _exactly(stream, 16)
        order = "<" if start[:1] == b"l" else ">"
        body_length, _, fields_length = struct.unpack(f"{order}III", start[4:])
        if body_length + fields_length > _MESSAGE_LIMIT:
            raise ConnectionError("what listens there is no message bus")
        _exactly(stream, fields_length + -fields_length % 8)
        body = _exactly(stream, body_length)
        if start[1] in (_METHOD_RETURN, _ERROR):
            return start[1], body


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise ConnectionResetError("the message bus closed the connection")
    return data
