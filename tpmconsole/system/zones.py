"""Zones of link-local IPv6 addresses, which are interfaces (RFC 4007, 11): ``fe80::1%eth0``."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import Any

from tpmconsole.inputs import address_text


def name_text(name: tuple[Any, ...]) -> str:
    """A socket's name as text; a link-local address includes its interface."""
    host, port, *more = name
    zone = more[1] if len(more) > 1 else 0
    if zone and "%" not in host:
        with suppress(OSError):  # the interface has gone
            host = f"{host}%{socket.if_indextoname(zone)}"
    return address_text(host, port)


def check_zone(host: str) -> None:
    """Check that the interface of a link-local address exists; a resolver reports an unknown host.

    Raises:
        OSError: ENODEV: this board does not have that interface.
    """
    zone = host.partition("%")[2]
    if zone and not zone.isdigit():
        try:
            socket.if_nametoindex(zone)
        except OSError:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None
