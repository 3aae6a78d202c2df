"""A server's places for clients, divided so that no single address can take them all."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any

# One address can take at most 1/PARTS of the places.
PARTS = 4
_NETWORK_BITS = 64


class Places:
    """Counts the connected clients by address.

    Args:
        count: how many may be connected at once.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._each = max(1, count // PARTS)
        self._taken: Counter[str] = Counter()

    def take(self, source: str) -> str | None:
        """Give a peer a place; return why not if there is no place for it."""
        if self._taken.total() >= self._count:
            return f"{self._count} clients are already connected"
        if self._taken[source] >= self._each:
            return f"{self._taken[source]} from its address are already connected"
        self._taken[source] += 1
        return None

    def leave(self, source: str) -> None:
        """Take a place back."""
        self._taken[source] -= 1
        if not self._taken[source]:
            del self._taken[source]


def source_of(name: tuple[Any, ...]) -> str:
    """Return the source that a peer counts for, from the socket's name of the peer.

    A host can choose any IPv6 address of a /64 (RFC 4291, 2.5.1), so the network counts as one
    address. A link-local address counts alone: all neighbours on a link share the same network.
    """
    address = ip_address(name[0])
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.is_link_local:
        return f"{address}%{name[3]}"
    return str(IPv6Network((int(address), _NETWORK_BITS), strict=False))
