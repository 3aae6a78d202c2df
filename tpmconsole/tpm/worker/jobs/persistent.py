"""List, add and remove the keys kept inside the TPM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tpm2_pytss import ESAPI, ESYS_TR, TPM2_PT, TPM2_PT_HR

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep, usage_error
from tpmconsole.secret import Password
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.handles import (
    ENDORSEMENT_FIRST,
    ENDORSEMENT_LAST,
    PERSISTENT_FIRST,
    SRK,
    check_for_new_key,
    check_owners,
)
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.keyfile.key import TssKey
from tpmconsole.tpm.keyfile.pem import public_key_pem
from tpmconsole.tpm.model import PersistentKey
from tpmconsole.tpm.worker.jobs import capability, public
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.load_key import (
    hierarchy_password,
    loaded,
    persistent,
    salt_by_storage,
)
from tpmconsole.tpm.worker.jobs.open_key import public_key_of

_OWNER, _ENDORSEMENT = 0x40000001, 0x4000000B  # Part 2, 7.4
_ALLOWED_HIERARCHIES = (_OWNER, _ENDORSEMENT)


def persistent_keys(context: Context) -> list[dict[str, Any]]:
    """All keys at persistent handles; nothing is loaded, and no password is tried.

    A key that cannot be read has only its handle and the reason.
    """

    def work(esapi: ESAPI) -> list[dict[str, Any]]:
        keys = []
        for handle in capability.handles(esapi, PERSISTENT_FIRST):
            try:
                encoded, name = public.read(esapi, handle)
                key = _described(handle, public.decoded(encoded), name.hex())
            except ConsoleError as error:  # it must not hide the others
                where = f"0x{handle:08x}"
                key = PersistentKey(where, reason=error.cause.removeprefix(f"{where}: "))
            keys.append(asdict(key))
        return keys

    return context.run(work)


def _described(handle: int, area: public_area.PublicArea, name: str) -> PersistentKey:
    return PersistentKey(
        handle=f"0x{handle:08x}",
        algorithm=area.algorithm,
        attributes=area.words,
        name=name,
        purpose=_purpose(handle, area),
        # The TPM does not say whether a password is empty.
        auth=None if area.attributes & public_area.USER_WITH_AUTH else "policy",
        public_pem=_pem(area).decode("ascii") if area.has_public_key else None,
        counts_towards_lockout=not area.has_noda,
        origin=area.origin,
    )


def _purpose(handle: int, area: public_area.PublicArea) -> str:
    signs = bool(area.attributes & public_area.SIGN)
    decrypts = bool(area.attributes & public_area.DECRYPT)
    if area.attributes & public_area.RESTRICTED:
        if signs:
            return "attestation key"
        if ENDORSEMENT_FIRST <= handle <= ENDORSEMENT_LAST:
            return "endorsement key (EK)"
        return "storage root key (SRK)" if handle == SRK else "storage key"
    if area.type == public_area.KEYEDHASH and not signs:
        return "sealed data"
    if signs:
        return "signing and decryption key" if decrypts else "signing key"
    return "decryption key"


def _pem(area: public_area.PublicArea) -> bytes:
    return public_key_pem(public_key_of(area))


def public_pem(context: Context, handle: int) -> bytes:
    """The public key at a persistent handle, SubjectPublicKeyInfo PEM."""

    def work(esapi: ESAPI) -> bytes:
        with persistent(esapi, handle) as found:
            return _pem(found.area)

    return context.run(work)


def persist(context: Context, pem: bytes, handle: int, auth: Mapping[str, Any]) -> None:
    """Copy a key file's key to a handle; what cannot work is refused early."""
    known = Auth.of(auth)
    check_for_new_key(handle)
    key = keyfile.parse(pem)
    if key.parent >> 24 == 0x40 and key.parent not in _ALLOWED_HIERARCHIES:
        raise usage_error(
            "Key not for a handle",
            f"its parent 0x{key.parent:08x} is outside the owner's hierarchies",
            "create the key again under the owner hierarchy",
        )

    # Below the endorsement hierarchy the password is that hierarchy's: wrong for the owner's.
    owner = None if key.parent == _ENDORSEMENT else known.owner

    def work(esapi: ESAPI) -> None:
        if handle in capability.handles(esapi, handle):
            if _holds(esapi, handle, key):
                return  # an earlier run put it there, and its answer was lost
            raise _in_use(handle)
        if capability.properties(esapi, TPM2_PT.VAR).get(TPM2_PT_HR.PERSISTENT_AVAIL) == 0:
            raise _full()
        with loaded(esapi, key, known) as found:
            _evict_control(esapi, found, handle, owner)

    context.run(work)


def _holds(esapi: ESAPI, handle: int, key: TssKey) -> bool:
    """Whether this key is at a handle; one that cannot be read is a different key."""
    try:
        return public.area_at(esapi, handle).name == key.area.name
    except ConsoleError:
        return False


def evict(context: Context, handle: int, auth: Mapping[str, Any]) -> None:
    """Remove the key at a handle permanently."""
    known = Auth.of(auth)
    check_owners(handle)

    def work(esapi: ESAPI) -> None:
        # The TSS keeps its record of an evicted key, and would reject the next key there.
        with persistent(esapi, handle) as found:
            _evict_control(esapi, found.handle, handle, known.owner)

    context.run(work)


def _evict_control(esapi: ESAPI, key: ESYS_TR, handle: int, owner: Password | None) -> None:
    """TPM2_EvictControl (Part 3, 28.5) as the owner."""
    salt_by_storage(esapi, owner)
    with hierarchy_password(esapi, ESYS_TR.OWNER, owner) as chip:
        kept = chip.evict_control(ESYS_TR.OWNER, key, handle)
    if kept is not None and kept != ESYS_TR.NONE:
        esapi.tr_close(kept)


def _in_use(handle: int) -> ConsoleError:
    return ConsoleError(
        "Handle in use",
        f"there is another key at 0x{handle:08x}",
        NextStep(Action.LIST_KEYS, text="choose a free handle; those in use: {}"),
        ExitCode.REFUSED,
    )


def _full() -> ConsoleError:
    return ConsoleError(
        "No room in the TPM",
        "its memory for persistent keys is full",
        NextStep(Action.EVICT, text="evict a persistent key that is no longer needed ({})"),
        ExitCode.REFUSED,
    )
