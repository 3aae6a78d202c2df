"""What a certificate request asks for."""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("client", "server", "both")
UTF8, PRINTABLE = STRING_TYPES = ("utf8", "printable")
Line = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """What a request asks for.

    Attributes:
        subject: RFC 4514, such as ``CN=gateway-1,O=Example``, or as OpenSSL prints it.
        san: ``dns:…``, ``ip:…``, ``uri:…`` and ``email:…``.
        role: ``client``, ``server`` or ``both``; decides the extended key usage.
        string_type: how the subject's fields are encoded: ``utf8``, as RFC 5280 wants it, or
            ``printable`` for a CA that compares them by their bytes with its own old ones.
    """

    subject: str
    san: tuple[str, ...] = ()
    role: str = "client"
    string_type: str = UTF8
