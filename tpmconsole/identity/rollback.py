"""The previous certificate: kept beside the one that replaced it, and restored once.

Files are written in such an order that a power cut at any point leaves something that works.
"""

from __future__ import annotations

from tpmconsole.errors import ConsoleError
from tpmconsole.identity.identity import Identity, previous
from tpmconsole.inputs import CERTIFICATE_BYTES
from tpmconsole.system.files import read_bounded, remove, write_atomic


def keep_previous(identity: Identity, chain_pem: bytes) -> None:
    """Keep an identity's certificate and trust anchors before ``chain_pem`` takes their place.

    Raises:
        ConsoleError: they cannot be read or written.
    """
    if not identity.has_certificate:
        return
    current = read_bounded(identity.certificate, CERTIFICATE_BYTES)
    kept = previous(identity.certificate)
    if current == chain_pem:  # imported again: the previous certificate stays the same
        return
    if kept.is_file() and read_bounded(kept, CERTIFICATE_BYTES) == current:
        return  # an interrupted import kept both; the anchors may be new already
    # Removed before its anchors are replaced: a kept certificate never has other anchors.
    remove(kept)
    if identity.has_trust:
        write_atomic(previous(identity.trust), read_bounded(identity.trust, CERTIFICATE_BYTES))
    write_atomic(kept, current)


def go_back(identity: Identity) -> None:
    """Restore what was kept.

    Raises:
        ConsoleError: nothing was kept, or it cannot be read or written.
    """
    if not identity.can_undo:
        raise ConsoleError(
            "Nothing to undo",
            f"no earlier certificate of '{identity.name}' was kept",
            "import the certificate you want",
        )
    # Certificate first: between the two, as in install, the old certificate is in place.
    for path in (identity.certificate, identity.trust):
        if previous(path).is_file():
            write_atomic(path, read_bounded(previous(path), CERTIFICATE_BYTES))
    # Last: if a crash comes before this, undoing again does the same again.
    for path in (identity.certificate, identity.trust):
        remove(previous(path))
