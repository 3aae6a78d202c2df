"""The pin of an identity's key: recorded once, at creation, and compared at every use."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"[0-9a-f]{4}(?:[0-9a-f]{2}){20,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pin:
    """Identifies exactly one key.

    Attributes:
        name: the key's Name (TPM 2.0 Part 1, section 16) in hex: the id of a hash algorithm, then
            that hash of the key's public area, which includes attributes such as whether the key
            may leave its TPM.
        sha256: SHA-256 of the public key, SubjectPublicKeyInfo DER, in hex.
    """

    name: str
    sha256: str


def pin_of(name: str | None, sha256: str | None) -> Pin | None:
    """The pin in identity.toml; None if neither part of it is there.

    Raises:
        ValueError: it is not valid, or one part is missing.
    """
    if name is None and sha256 is None:
        return None
    if not (_NAME.fullmatch(name or "") and _SHA256.fullmatch(sha256 or "")):
        raise ValueError("no Name and SHA-256 of a key")
    return Pin(name or "", sha256 or "")
