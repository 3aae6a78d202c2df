"""The hashes that keys sign with."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes

Sha2 = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

# By the name that hashlib, the TSS and cryptography use.
SHA2: dict[str, type[Sha2]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


def split_scheme(scheme: str) -> tuple[str, str]:
    """Split a key's only scheme, ``RSAPSS SHA-256``, into its type and hash name (``sha256``)."""
    kind, _, hash_name = scheme.rpartition(" ")
    return kind, hash_name.replace("-", "").lower()
