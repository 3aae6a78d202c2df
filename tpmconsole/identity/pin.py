"""Which key an identity was given: noted once, when it was made, and compared at every use."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"[0-9a-f]{4}(?:[0-9a-f]{2}){20,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pin:
    """A key told from every other one.

    Attributes:
        name: the TPM's Name of it (TPM 2.0 Part 1, section 16) in hex: the number of a hash, then
            that hash of its public area. The attributes are in it, such as whether the key may
            leave its TPM.
        sha256: SHA-256 of its public key, SubjectPublicKeyInfo DER, in hex.
    """

    name: str
    sha256: str


def pin_of(name: str | None, sha256: str | None) -> Pin | None:
    """The pin that identity.toml says; None where it says none, or half of one.

    Raises:
        ValueError: what it says can be none.
    """
    if name is None and sha256 is None:
        return None
    if not (_NAME.fullmatch(name or "") and _SHA256.fullmatch(sha256 or "")):
        raise ValueError("no Name and SHA-256 of a key")
    return Pin(name or "", sha256 or "")
