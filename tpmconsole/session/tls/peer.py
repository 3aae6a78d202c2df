"""The other side of a connection, with what is needed to explain its errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, slots=True)
class Peer:
    """The subject of an error: ``the server`` or ``the client``, and its address.

    Attributes:
        ours: the certificates that we send to it: our own, then intermediates; empty if none.
    """

    who: str
    address: str
    ours: tuple[x509.Certificate, ...] = field(default=(), repr=False)

    @property
    def our_role(self) -> str:
        """Our side of the connection: ``client`` or ``server``."""
        return "server" if self.who.endswith("client") else "client"

    def __str__(self) -> str:
        return f"{self.who} {self.address}"
