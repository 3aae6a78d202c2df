"""Reads a file of trust anchors, adds to it and removes from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from tpmconsole.errors import ConsoleError
from tpmconsole.inputs import CERTIFICATE_BYTES
from tpmconsole.system.files import read_bounded, remove, write_atomic
from tpmconsole.x509.bundle import read_bundle
from tpmconsole.x509.names import fingerprint, pem


def kept_anchors(path: Path) -> list[x509.Certificate]:
    """The trust anchors in a file; empty if there is no such file.

    Raises:
        ConsoleError: it is damaged or cannot be read.
    """
    if not path.is_file():
        return []
    return read_bundle(read_bounded(path, CERTIFICATE_BYTES))


def add_anchors(path: Path, anchors: Sequence[x509.Certificate]) -> None:
    """Add the anchors that are missing from the file; a damaged file is replaced.

    Raises:
        ConsoleError: it cannot be written.
    """
    try:
        known = kept_anchors(path)
    except ConsoleError:
        known = []
    more = [one for one in dict.fromkeys(anchors) if one not in known]
    if more:
        write_atomic(path, pem([*known, *more]))


def drop_anchor(path: Path, sha256: str) -> None:
    """Remove an anchor; the last one takes the file with it.

    Args:
        sha256: the anchor's fingerprint, 64 lower-case hexadecimal digits.

    Raises:
        ConsoleError: it cannot be read or written.
    """
    anchors = kept_anchors(path)
    left = [one for one in anchors if fingerprint(one) != sha256]
    if anchors and not left:
        remove(path)
    elif left != anchors:
        write_atomic(path, pem(left))
