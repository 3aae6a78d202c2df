"""A server's places, shared out so that no single address can take them all."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any

# One address gets one of so many parts of the places.
PARTS = 4
_NETWORK_BITS = 64


class Places:
    """Who is connected, by address.

    Args:
        count: how many may be connected at once.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._each = max(1, count // PARTS)
        self._taken: Counter[str] = Counter()

    def take(self, source: str) -> str | None:
        """Give a peer a place; why it gets none, where there is none for it."""
        if self._taken.total() >= self._count:
            return f"{self._count} clients are connected already"
        if self._taken[source] >= self._each:
            return f"{self._taken[source]} of its address are connected already"
        self._taken[source] += 1
        return None

    def leave(self, source: str) -> None:
        """Take a place back."""
        self._taken[source] -= 1
        if not self._taken[source]:
            del self._taken[source]


def source_of(name: tuple[Any, ...]) -> str:
    """Which peers are taken for one, from a socket's name for a peer.

    A host picks its IPv6 addresses from a /64 as it likes (RFC 4291, 2.5.1): the network counts as
    one address. Not so on a link, where all neighbours have the same one.
    """
    address = ip_address(name[0])
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.is_link_local:
        return f"{address}%{name[3]}"
    return str(IPv6Network((int(address), _NETWORK_BITS), strict=False))
