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
        subject: in RFC 4514 form, such as ``CN=gateway-1,O=Example``, or as OpenSSL prints it.
        san: ``dns:…``, ``ip:…``, ``uri:…`` and ``email:…``.
        role: ``client``, ``server`` or ``both``; determines the extended key usage.
        string_type: the encoding of the subject's fields: ``utf8``, as RFC 5280 requires, or
            ``printable`` for a CA that compares their bytes with its older records.
    """

    subject: str
    san: tuple[str, ...] = ()
    role: str = "client"
    string_type: str = UTF8
