"""Which unix sockets are connected to which server: the kernel reports it only by sock_diag(7)."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

_SOCK_DIAG_BY_FAMILY = 20
_NETLINK_SOCK_DIAG = 4
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_SHOW_NAME, _SHOW_PEER = 0x1, 0x4
_NAME, _PEER = 0, 2  # UNIX_DIAG_NAME, UNIX_DIAG_PEER
_ALL_STATES = 0xFFFFFFFF

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, number, process
_QUESTION = struct.Struct("=BBHIIIII")  # unix_diag_req
_ANSWER = struct.Struct("=BBBBIII")  # unix_diag_msg; its fifth field is the socket's inode
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_BUFFER = 64 * 1024
_PATIENCE_S = 1.0


def servers_of_sockets() -> dict[int, str]:
    """The path that each client socket is connected to, by its inode as in ``/proc/PID/fd``.

    Empty if the kernel was built without ``CONFIG_UNIX_DIAG``.
    """
    names: dict[int, str] = {}
    peers: dict[int, int] = {}
    try:
        for inode, kind, value in _attributes():
            if kind == _NAME and value[:1] != b"\0":
                names[inode] = os.fsdecode(value.rstrip(b"\0"))
            elif kind == _PEER:
                (peers[inode],) = struct.unpack("=I", value)
    except OSError:
        return {}
    return {inode: names[peer] for inode, peer in peers.items() if peer in names}


def _attributes() -> Iterator[tuple[int, int, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_PATIENCE_S)
        question = _QUESTION.pack(
            socket.AF_UNIX, 0, 0, _ALL_STATES, 0, _SHOW_NAME | _SHOW_PEER, 0, 0
        )
        length = _HEADER.size + len(question)
        netlink.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, 1, 0) + question)
        while True:
            for kind, body in _pieces(netlink.recv(_BUFFER), _HEADER):
                if kind in (_DONE, _ERROR):
                    return
                inode = _ANSWER.unpack_from(body)[4]
                for attribute, value in _pieces(body[_ANSWER.size :], _ATTRIBUTE):
                    yield inode, attribute, value


def _pieces(data: bytes, header: struct.Struct) -> Iterator[tuple[int, bytes]]:
    """Split netlink data into its pieces: each has a length, a type, its content and padding."""
    while len(data) >= header.size:
        length, kind = header.unpack_from(data)[:2]
        if length < header.size:
            return
        yield kind, data[header.size : length]
        data = data[(length + 3) // 4 * 4 :]
