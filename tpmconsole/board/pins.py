"""Whether an identity's key is the one that it was given.

The pin in identity.toml is noted when an identity is made, and never later: what is at a handle by
then may be anybody's. One without a pin works, and the doctor says that nobody watches its key.
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
        identity: whose.
        change: what it was and what it is.

    Attributes:
        change: the same, for a list.
    """

    def __init__(self, identity: Identity, change: str) -> None:
        remedy = NextStep(
            Action.FORGET,
            identity.name,
            "restore the backup that has its key; else forget it ({}), then make and certify a "
            "new key",
        )
        cause = f"the key of '{identity.name}' {change}; that takes the right {_whose(identity)}"
        super().__init__("Key changed", cause, remedy, ExitCode.REFUSED)
        self.change = change


def _whose(identity: Identity) -> str:
    """Who could have exchanged the key."""
    write = f"to write {identity.folder}"
    if identity.handle is None:
        return write
    return f"to use the TPM (such as the group tss has) or {write}"


def public_key_of(area: PublicArea) -> PublicKey:
    """The public key in a public area.

    Raises:
        ConsoleError: it has none that is known here.
    """
    from tpmconsole.tpm.keyfile.public_area import PublicAreaError

    try:
        return area.public_key()
    except PublicAreaError as error:
        raise ConsoleError(
            "Key not usable", str(error), NextStep(Action.CREATE, text="make a new one: {}")
        ) from error


def pin_of_key(area: PublicArea) -> Pin:
    """What a new identity notes of its key.

    Raises:
        ConsoleError: it has no public key that is known here.
    """
    from tpmconsole.identity.pin import Pin

    return Pin(area.name.hex(), _sha256(area))


def checked_area(tpm: Tpm, identity: Identity, ref: KeyRef) -> PublicArea:
    """The public area of an identity's key: a file's own word, or at a handle the TPM's.

    Raises:
        ConsoleError: the file is damaged, nothing is at the handle, or the TPM does not answer.
        KeyChangedError: it is not the one that the identity was given.
    """
    area = tpm.read_public(ref) if ref.pem is None else _area_of_file(ref.pem)
    check_pin(identity, area)
    return area


@lru_cache(maxsize=256)
def _area_of_file(pem: bytes) -> PublicArea:
    """A key file's public area: the lists ask for the same ones again and again."""
    from tpmconsole.tpm import keyfile

    return keyfile.parse(pem).area


def check_pin(identity: Identity, area: PublicArea) -> None:
    """Refuse a key that is not the one which the identity was given.

    Raises:
        KeyChangedError: it is another.
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
    """Which identities have lost their key to another one, for lists that must not wait.

    Key files are read whenever it is asked; the TPM only when it is told to.
    """

    def __init__(self) -> None:
        self._changes: dict[tuple[str, Pin | None, int | None], str] = {}

    def ask(self, tpm: Tpm, identities: Iterable[Identity]) -> bool:
        """Let the TPM read the pinned keys that are at handles; who cannot be read is not known.

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
        """What became of an identity's key, in words; None where nothing is known to have."""
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
    except ConsoleError:  # what cannot be read is told where it is used
        return None
    return None


def _pem(identity: Identity) -> bytes | None:
    try:
        return identity.key_pem
    except ConsoleError:
        return None
