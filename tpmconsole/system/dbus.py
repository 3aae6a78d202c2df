"""Just enough D-Bus to ask whether a program is on a bus and answers us.

busctl, dbus-send and the Python bindings are each missing on some boards; the question takes one
connection and two calls (D-Bus specification, "Authentication Protocol" and "Message Protocol").
"""

from __future__ import annotations

import os
import socket
import struct
from enum import Enum
from pathlib import Path
from typing import BinaryIO

TABRMD_NAME = "com.intel.tss2.Tabrmd"

_BUS_NAME = "org.freedesktop.DBus"
_METHOD_CALL, _METHOD_RETURN, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _DESTINATION = 1, 2, 3, 6
_NO_AUTO_START = 2
_LINE_LIMIT = 1024
_MESSAGE_LIMIT = 65536


class Presence(Enum):
    """Whether a program on a bus answers."""

    ANSWERS = "answers"
    ABSENT = "absent"
    DENIED = "denied"


_PRESENCE = {
    "AccessDenied": Presence.DENIED,
    "NameHasNoOwner": Presence.ABSENT,
    "NoReply": Presence.ABSENT,  # it left before it answered
    "ServiceUnknown": Presence.ABSENT,
}


def ask(address: Path, name: str, *, timeout_s: float) -> Presence:
    """Whether the program that owns a name on a bus is running, and accepts this user's messages.

    A name alone proves little: the bus shows it to every user, but may let only a group's members
    talk to its owner. So we send the owner ``org.freedesktop.DBus.Peer.Ping``, which changes
    nothing; a program that is not running is not started for it.

    Args:
        address: the unix socket that the bus listens on.
        timeout_s: seconds that each step may take.

    Raises:
        OSError: nothing listens there, it cannot be opened, or it is not a message bus.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(os.fspath(address))
        with connection.makefile("rb") as stream:
            uid = str(os.geteuid()).encode().hex().encode()
            connection.sendall(b"\0AUTH EXTERNAL " + uid + b"\r\n")
            if not stream.readline(_LINE_LIMIT).startswith(b"OK "):
                raise ConnectionRefusedError("the message bus refuses this user")
            hello = _call(1, _BUS_NAME, "/org/freedesktop/DBus", _BUS_NAME, "Hello")
            ping = _call(2, name, "/", f"{_BUS_NAME}.Peer", "Ping")
            connection.sendall(b"BEGIN\r\n" + hello + ping)
            _reply(stream)
            kind, fields = _reply(stream)
    if kind == _METHOD_RETURN:
        return Presence.ANSWERS
    for error, presence in _PRESENCE.items():
        if f"{_BUS_NAME}.Error.{error}\0".encode() in fields:
            return presence
    raise ConnectionError("the message bus answers with an error")


def _call(serial: int, destination: str, path: str, interface: str, member: str) -> bytes:
    """A method call without arguments."""
    fields = (
        (_PATH, b"o", path),
        (_INTERFACE, b"s", interface),
        (_MEMBER, b"s", member),
        (_DESTINATION, b"s", destination),
    )
    header = b""
    for code, kind, value in fields:
        header = _padded(header) + struct.pack("<BB", code, 1) + kind + b"\0" + _string(value)
    start = struct.pack("<cBBBIII", b"l", _METHOD_CALL, _NO_AUTO_START, 1, 0, serial, len(header))
    return _padded(start + header)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _reply(stream: BinaryIO) -> tuple[int, bytes]:
    """Type and header fields of the next answer; signals in between are skipped."""
    while True:
        start = _exactly(stream, 16)
        order = "<" if start[:1] == b"l" else ">"
        body_length, _, fields_length = struct.unpack(f"{order}III", start[4:])
        if body_length + fields_length > _MESSAGE_LIMIT:
            raise ConnectionError("what listens there is not a message bus")
        fields = _exactly(stream, fields_length + -fields_length % 8)
        _exactly(stream, body_length)
        if start[1] in (_METHOD_RETURN, _ERROR):
            return start[1], fields


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise ConnectionResetError("the message bus closed the connection")
    return data
