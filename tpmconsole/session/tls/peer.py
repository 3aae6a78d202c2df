"""The other side of a connection, and what we know when it refuses us."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom an error is about: ``the server`` or ``the client``, and its address.

    Attributes:
        ours: what we show it: our certificate, then its intermediates; empty where it is shown
            none.
    """

    who: str
    address: str
    ours: tuple[x509.Certificate, ...] = field(default=(), repr=False)

    @property
    def our_role(self) -> str:
        """What we are to it: ``client`` or ``server``."""
        return "server" if self.who.endswith("client") else "client"

    def __str__(self) -> str:
        return f"{self.who} {self.address}"
