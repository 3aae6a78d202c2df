"""Figures as the tour shows them."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tpmconsole.system.files import read_bounded
from tpmconsole.tpm.model import KeyRef

FILE_BYTES = 64 * 1024


def took(begun: float) -> str:
    """The time since ``begun``, a ``time.perf_counter()``."""
    seconds = time.perf_counter() - begun
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def short(digest: str) -> str:
    """The beginning of a fingerprint: enough to compare two at a glance."""
    return f"{digest[:4]} {digest[4:8]} {digest[8:12]} {digest[12:16]} ..."


def content(path: Path) -> bytes:
    """A file's content."""
    return read_bounded(path, FILE_BYTES)


def digest_of(path: Path) -> str:
    """SHA-256 over a file, short."""
    return short(hashlib.sha256(content(path)).hexdigest())


def source(path: Path) -> KeyRef:
    """The key in a TSS2 key file."""
    return KeyRef(pem=content(path))


def key_in(pem: bytes) -> tuple[str, str]:
    """Whether a file gives away a private key: tried with what every program reads keys with."""
    try:
        load_pem_private_key(pem, None)
    except ValueError:
        return "NOT FOUND", "a program that reads private keys finds none in it"
    return "FOUND", "a program that reads private keys has it at once"
