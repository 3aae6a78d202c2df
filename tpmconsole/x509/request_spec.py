"""What a certificate request asks for."""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("client", "server", "both")
Line = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """What a request asks for.

    Attributes:
        subject: RFC 4514, such as ``CN=gateway-1,O=Example``.
        san: ``dns:…``, ``ip:…``, ``uri:…`` and ``email:…``.
        role: ``client``, ``server`` or ``both``; decides the extended key usage.
    """

    subject: str
    san: tuple[str, ...] = ()
    role: str = "client"
