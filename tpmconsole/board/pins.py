"""Check that an identity's key is the one that it was given.

The pin in identity.toml is written when an identity is made, and never later: by then, any key may
be at the handle. An identity without a pin works, and the doctor reports that its key is not
watched.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.tpm.model import KeyRef

if TYPE_CHECKING:
    from tpmconsole.identity.identity import Identity
    from tpmconsole.identity.pin import Pin
    from tpmconsole.tpm.client import Tpm
    from tpmconsole.tpm.keyfile.public_area import PublicArea
    from tpmconsole.x509.schemes import PublicKey

_DIGITS = 16


class KeyChangedError(ConsoleError):
    """An identity's key is not the one that it was given.

    Args:
        identity: the identity with that key.
        change: what it was and what it is.

    Attributes:
        change: the same, for a table.
    """

    def __init__(self, identity: Identity, change: str) -> None:
        remedy = NextStep(
            Action.FORGET,
            identity.name,
            "restore the backup that has its key; or forget it ({}), then make and certify a "
            "new key",
        )
        cause = f"the key of '{identity.name}' {change}; that needs the right {_whose(identity)}"
        super().__init__("Key changed", cause, remedy, ExitCode.REFUSED)
        self.change = change


def _whose(identity: Identity) -> str:
    """Which right allows a user to replace the key."""
    write = f"to write {identity.folder}"
    if identity.handle is None:
        return write
    return f"to use the TPM (such as the group tss has) or {write}"


def public_key_of(area: PublicArea) -> PublicKey:
    """The public key in a public area.

    Raises:
        ConsoleError: it has no public key of a known type.
    """
    from tpmconsole.tpm.keyfile.public_area import PublicAreaError

    try:
        return area.public_key()
    except PublicAreaError as error:
        raise ConsoleError(
            "Key not usable", str(error), NextStep(Action.CREATE, text="make a new one: {}")
        ) from error


def pin_of_key(area: PublicArea) -> Pin:
    """The pin that a new identity records for its key.

    Raises:
        ConsoleError: it has no public key of a known type.
    """
    from tpmconsole.identity.pin import Pin

    return Pin(area.name.hex(), _sha256(area))


def checked_area(tpm: Tpm, identity: Identity, ref: KeyRef) -> PublicArea:
    """The public area of an identity's key: from the key file, or from the TPM for a handle.

    Raises:
        ConsoleError: the file is damaged, nothing is at the handle, or the TPM does not answer.
        KeyChangedError: it is not the one that the identity was given.
    """
    area = tpm.read_public(ref) if ref.pem is None else _area_of_file(ref.pem)
    check_pin(identity, area)
    return area


@lru_cache(maxsize=256)
def _area_of_file(pem: bytes) -> PublicArea:
    """A key file's public area, cached: the tables ask for the same files again and again."""
    from tpmconsole.tpm import keyfile

    return keyfile.parse(pem).area


def check_pin(identity: Identity, area: PublicArea) -> None:
    """Refuse a key that is not the one that the identity was given.

    Raises:
        KeyChangedError: it is another key.
    """
    pin = identity.pin
    if pin is None:
        return
    if not area.has_public_key:
        raise KeyChangedError(identity, f"was {_cut(pin.sha256)} and is {area.algorithm} now")
    now = _sha256(area)
    if now != pin.sha256:
        raise KeyChangedError(identity, f"was {_cut(pin.sha256)} and is {_cut(now)} now")
    if area.name.hex() != pin.name:
        names = f"was {_cut(pin.name)} and is {_cut(area.name.hex())} now"
        raise KeyChangedError(identity, f"has other attributes: its Name {names}")


def _sha256(area: PublicArea) -> str:
    from tpmconsole.x509.names import key_fingerprint

    return key_fingerprint(public_key_of(area))


def _cut(digits: str) -> str:
    return f"{digits[:_DIGITS]}..."


class Watch:
    """The identities whose key was replaced by another, for tables that must not wait.

    ``change`` reads key files each time, but never the TPM; only ``ask`` does.
    """

    def __init__(self) -> None:
        self._changes: dict[tuple[str, Pin | None, int | None], str] = {}

    def ask(self, tpm: Tpm, identities: Iterable[Identity]) -> bool:
        """Let the TPM read the pinned keys at handles; a key that cannot be read is unknown.

        Returns:
            Whether anything is known now that was not before.
        """
        found: dict[tuple[str, Pin | None, int | None], str] = {}
        for one in identities:
            if one.pin is not None and one.handle is not None:
                change = _change(tpm, one, KeyRef(handle=one.handle))
                if change is not None:
                    found[one.name, one.pin, one.handle] = change
        before, self._changes = self._changes, found
        return found != before

    def change(self, tpm: Tpm, identity: Identity) -> str | None:
        """How an identity's key has changed, as text; None if no change is known."""
        if identity.pin is None:
            return None
        if identity.handle is not None:
            return self._changes.get((identity.name, identity.pin, identity.handle))
        pem = _pem(identity)
        return None if pem is None else _change(tpm, identity, KeyRef(pem=pem))


def _change(tpm: Tpm, identity: Identity, ref: KeyRef) -> str | None:
    try:
        checked_area(tpm, identity, ref)
    except KeyChangedError as error:
        return error.change
    except ConsoleError:  # a key that cannot be read is reported where it is used
        return None
    return None


def _pem(identity: Identity) -> bytes | None:
    try:
        return identity.key_pem
    except ConsoleError:
        return None
