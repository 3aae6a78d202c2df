"""Make an identity of an existing key: another tool's key file, or a key at a handle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.board.parents import FOREIGN, in_doubt, none_fits
from tpmconsole.board.pins import pin_of_key, public_key_of
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep, Remedy
from tpmconsole.system.files import read_bounded
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.handles import check_persistent
from tpmconsole.tpm.keyfile.public_area import ECC, RSA
from tpmconsole.tpm.model import Algorithm, KeyCheck, KeyFile, KeyKind, KeyRef, PersistentKey
from tpmconsole.tpm.primaries import AS_SAID

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.identity.pin import Pin
    from tpmconsole.identity.store import Identity
    from tpmconsole.tpm.keyfile import TssKey
    from tpmconsole.tpm.keyfile.public_area import PublicArea

_RSA_BITS = 2048  # OpenSSL's security level 2, which Debian sets, rejects shorter keys
_ANOTHER = "choose a key of this TPM that signs"
_AGAIN = "adopt it again after that"
_GIVE = NextStep(Action.GIVE_NO_PASSWORD, text=f"{_AGAIN} (if it has no password: {{}})")
_CURVES = ("EC P-256", "EC P-384", "EC P-521")  # RFC 8446, 4.2.3


def adopt_key(
    board: Board, name: str, key: KeyFile | PersistentKey, auth: Auth = NO_AUTH
) -> Identity:
    """Make an identity of a key of the list; errors as ``adopt_file`` and ``adopt_handle``."""
    if isinstance(key, PersistentKey):
        return adopt_handle(board, name, int(key.handle, 16), auth)
    return adopt_file(board, name, Path(key.path), auth)


def adopt_handle(board: Board, name: str, handle: int, auth: Auth = NO_AUTH) -> Identity:
    """Make an identity of the key at a persistent handle, as it is; it stays where it is.

    From now on the identity accepts only this key. To know which device the key belongs to, compare
    it with what is known elsewhere. The handle may be anyone's, such as the maker's (an IDevID).

    Args:
        auth: the key's password, if it has one.

    Raises:
        ConsoleError: the name is taken or not valid, the handle is empty or has another identity's
            key, or the key does not sign for us; nothing was made.
    """
    auth.check()
    board.identities.reserve(name)
    check_persistent(handle)
    for one in board.identities.all():
        if one.handle == handle:
            cause = f"identity '{one.name}' has its key at 0x{handle:08x}"
            raise _not_adopted(cause, "use that identity")
    ref = KeyRef(handle=handle)
    area = board.tpm.read_public(ref)
    pin = _checked_pin(board, area)
    _check_signs(board.tpm.check_key(ref, auth))
    return _made(board, name, ref, area, pin, auth)


def adopt_file(board: Board, name: str, path: Path, auth: Auth = NO_AUTH) -> Identity:
    """Make an identity of another tool's key file; a copy is kept, the file is not changed.

    If the file is wrong about its parent in this TPM, or about having a password, the copy is
    corrected.

    Args:
        auth: the key's password, if it has one, and those of its parent and hierarchy.

    Raises:
        ConsoleError: the name is taken or not valid, the file holds no key that signs for us, or
            the key belongs to another TPM; nothing was made.
    """
    from tpmconsole.tpm import keyfile

    auth.check()
    board.identities.reserve(name)
    data = read_bounded(path, keyfile.LIMIT)
    try:
        key = keyfile.parse(data)
    except keyfile.KeyFileError as error:
        if error.kind is KeyKind.NOT_TSS2:
            remedy = NextStep(Action.IMPORT_KEY, text="wrap a key made elsewhere into the TPM: {}")
            raise _not_adopted(error.cause, remedy) from error
        raise
    pin = _checked_pin(board, key.area)
    key = _signing(board, key, auth)
    ref = KeyRef(pem=replace(key, empty_auth=not auth.key).to_pem())
    return _made(board, name, ref, key.area, pin, auth, path)


def _signing(board: Board, key: TssKey, auth: Auth) -> TssKey:
    """The key with the parent below which it loads, after a test signature.

    Raises:
        ConsoleError: it does not sign.
    """
    pem = key.to_pem()
    answer = board.tpm.check_key(KeyRef(pem), auth)
    if in_doubt(answer):
        (parent,) = board.tpm.find_parents([pem], auth)
        if parent is not None and parent is not AS_SAID:
            key = key.below(parent)
            answer = board.tpm.check_key(KeyRef(key.to_pem()), auth)
        elif parent is None and answer.answer in FOREIGN:
            answer = none_fits(answer)
    _check_signs(answer)
    return key


def _checked_pin(board: Board, area: PublicArea) -> Pin:
    """The pin that the identity records for the key.

    Raises:
        ConsoleError: TLS cannot use it, or it belongs to another identity.
    """
    if not area.has_public_key:
        raise _not_adopted(f"it is {area.algorithm}, and TLS signs with EC and RSA", _ANOTHER)
    public = public_key_of(area)
    if area.type == RSA and public.key_size < _RSA_BITS:
        raise _not_adopted(
            f"peers refuse RSA keys of {public.key_size} bits", "use one of 2048 bits or more"
        )
    if area.type == ECC and area.algorithm not in _CURVES:
        raise _not_adopted(
            f"TLS 1.3 does not sign with {area.algorithm}", f"use {', '.join(_CURVES)} or RSA"
        )
    pin = pin_of_key(area)
    for one in board.identities.all():
        if one.pin is not None and one.pin.sha256 == pin.sha256:
            raise _not_adopted(f"it is the key of identity '{one.name}'", "use that identity")
    return pin


def _check_signs(answer: KeyCheck) -> None:
    if answer.usable:
        return
    remedy: Remedy = _ANOTHER
    if answer.needs == "key":  # its file may say the opposite of what is true
        remedy = _GIVE
    elif answer.needs is not None or answer.answer in ("locked-out", "no-room"):
        remedy = _AGAIN
    raise _not_adopted(answer.reason, remedy, answer.needs)


def _made(
    board: Board,
    name: str,
    ref: KeyRef,
    area: PublicArea,
    pin: Pin,
    auth: Auth,
    source: Path | None = None,
) -> Identity:
    kinds = {one.words: one.value for one in Algorithm}
    identity = board.identities.create(
        name,
        key_pem=ref.pem,
        handle=ref.handle,
        algorithm=kinds.get(area.algorithm, area.algorithm),
        auth="password" if auth.key else "none",
        origin="adopted",
        pin=pin,
    )
    where = f"0x{ref.handle:08x}" if source is None else str(source.absolute())
    facts = {"algorithm": identity.algorithm, "adopted_from": where, "origin": identity.origin}
    board.record("create", identity=name, **facts)
    return identity


def _not_adopted(cause: str, remedy: Remedy, needs: str | None = None) -> ConsoleError:
    return ConsoleError("Key not adopted", cause, remedy, ExitCode.REFUSED, needs=needs)
