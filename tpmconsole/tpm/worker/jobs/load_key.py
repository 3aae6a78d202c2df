"""Load keys into the TPM for as long as they are needed, and flush them whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPMT_PUBLIC,
    TPMT_SYM_DEF_OBJECT,
    TSS2_Exception,
)

from tpmconsole.secret import Password
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.errors import KeyUnusableError
from tpmconsole.tpm.handles import PERSISTENT_FIRST, PERSISTENT_LAST, check_persistent
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.keyfile.key import OWNER, TssKey
from tpmconsole.tpm.model import KeyKind
from tpmconsole.tpm.primaries import primary_of
from tpmconsole.tpm.responses import Code, base, refuses_password
from tpmconsole.tpm.worker.jobs import dictionary_attack, public, salted
from tpmconsole.tpm.worker.jobs.primary_keys import (
    flushed,
    make_primary,
    released,
    storage_is_rsa,
)
from tpmconsole.tpm.worker.jobs.salted import authorised
from tpmconsole.tpm.worker.jobs.salted_commands import SaltedCommands
from tpmconsole.tpm.worker.jobs.templates import storage_key

# TSS2_ESYS_RC_BAD_TR: the TSS does not know the object.
ESYS_BAD_TR = 0x70018

# A key file whose parent is one of these means the hierarchy's primary key.
HIERARCHIES = {
    0x40000001: ESYS_TR.OWNER,
    0x40000007: ESYS_TR.NULL,
    0x4000000B: ESYS_TR.ENDORSEMENT,
    0x4000000C: ESYS_TR.PLATFORM,
}
HIERARCHY_NAMES = {
    ESYS_TR.OWNER: "owner",
    ESYS_TR.NULL: "null",
    ESYS_TR.ENDORSEMENT: "endorsement",
    ESYS_TR.PLATFORM: "platform",
}


class Persistent(NamedTuple):
    """A persistent key.

    Attributes:
        handle: the TSS's number for it.
        area: its public area.
    """

    handle: ESYS_TR
    area: public_area.PublicArea


@contextmanager
def persistent(esapi: ESAPI, handle: int) -> Iterator[Persistent]:
    """A persistent key, registered with the TSS for the duration of the context.

    Raises:
        ConsoleError: the handle is not persistent, is empty, or holds a key that the TPM does not
            give out or whose kind is not known here.
    """
    check_persistent(handle)
    area = public.area_at(esapi, handle)
    found = esapi.tr_from_tpmpublic(handle)
    with released(lambda: _forget(esapi, found)):
        yield Persistent(found, area)


def _forget(esapi: ESAPI, handle: ESYS_TR) -> None:
    """Drop the TSS's record of a key; tpm2-tss 4 has done so already if it was evicted."""
    try:
        esapi.tr_close(handle)
    except TSS2_Exception as error:
        if int(error.rc) != ESYS_BAD_TR:
            raise


@contextmanager
def hierarchy_password(
    esapi: ESAPI, hierarchy: ESYS_TR, password: Password | None, needs: str = "hierarchy"
) -> Iterator[Any]:
    """Use a hierarchy with its password, and explain a refusal.

    Args:
        needs: what a refusal calls it, as in ``ConsoleError``.

    Yields:
        the commands, as from ``authorised``.

    Raises:
        KeyUnusableError: the hierarchy has a different password.
    """
    try:
        yield authorised(esapi, password)
    except TSS2_Exception as error:
        if not refuses_password(int(error.rc)):
            raise
        name = HIERARCHY_NAMES[hierarchy]
        if password:
            raise KeyUnusableError(
                "wrong-password",
                f"the TPM refused the password of its {name} hierarchy",
                "check the password and try again",
                response_code=int(error.rc),
                needs=needs,
            ) from error
        raise KeyUnusableError(
            "needs-password",
            f"the TPM's {name} hierarchy has a password",
            f"give the {name} password",
            response_code=int(error.rc),
            needs=needs,
        ) from error


@contextmanager
def primary(
    esapi: ESAPI,
    hierarchy: ESYS_TR = ESYS_TR.OWNER,
    password: Password | None = None,
    *,
    template: TPM2B_PUBLIC | None = None,
) -> Iterator[ESYS_TR]:
    """A hierarchy's primary key, created from the hierarchy's seed.

    Args:
        password: the hierarchy's.
        template: which primary key; by default the storage key.

    Raises:
        KeyUnusableError: the hierarchy's password is needed.
    """
    if template is None:
        template = storage_key(rsa=storage_is_rsa(esapi))
    with hierarchy_password(esapi, hierarchy, password) as chip:
        if password:
            handle = chip.create_primary(hierarchy, template)
        else:
            handle = make_primary(esapi, hierarchy, template)
    with flushed(esapi, handle):
        yield handle


def salt_by_storage(esapi: ESAPI, owner: Password | None) -> None:
    """Open the session with the storage key if creating that needs the owner's password.

    Raises:
        ConsoleError: the storage key differs from the known one.
        KeyUnusableError: the owner's password is wrong.
    """
    if owner and (esapi.salted is None or not esapi.salted.by_storage):
        with primary(esapi, password=owner) as storage:
            salted.salt_with(esapi, storage)


@contextmanager
def parent_of(esapi: ESAPI, key: TssKey, auth: Auth) -> Iterator[tuple[ESYS_TR, Any]]:
    """The parent that a key file names, and the commands for using it.

    Raises:
        KeyUnusableError: the parent lasted only until a restart, or its password was not given or
            is wrong.
        TSS2_Exception: there is no such parent.
    """
    hierarchy = HIERARCHIES.get(key.parent)
    if hierarchy is not None:
        with primary(esapi, hierarchy, auth.owner, template=template_of(esapi, key)) as parent:
            yield parent, esapi
    elif PERSISTENT_FIRST <= key.parent <= PERSISTENT_LAST:
        with persistent(esapi, key.parent) as parent:
            if auth.parent is not None:
                with _unlocked(esapi, parent, key.parent, auth) as chip:
                    yield parent.handle, chip
            else:
                with dictionary_attack.sparing(
                    esapi, parent.area, key.parent, try_empty=auth.try_empty
                ):
                    yield parent.handle, esapi
    else:
        raise KeyUnusableError(
            "parent-missing",
            f"the key's parent 0x{key.parent:08x} lasted only until the TPM's last restart",
            "create the key again under the owner hierarchy or a persistent parent",
        )


def template_of(esapi: ESAPI, key: TssKey) -> TPM2B_PUBLIC:
    """The template of the primary key that a key file refers to by its hierarchy."""
    meant = primary_of(key.parent, rsa=key.rsa_parent, mark=key.mark)
    rsa = meant.rsa or (not key.mark and storage_is_rsa(esapi))
    return storage_key(rsa=rsa, zeros=meant.zeros, noda=meant.noda)


@contextmanager
def _unlocked(esapi: ESAPI, parent: Persistent, handle: int, auth: Auth) -> Iterator[Any]:
    """Use a persistent parent with its password; yields the commands for that.

    Raises:
        KeyUnusableError: the password is wrong, or would be sent as the last attempt.
    """
    what = f"the key's parent 0x{handle:08x}"
    if not auth.spend_last_attempt:
        dictionary_attack.check_last(esapi, parent.area, what)
    try:
        yield authorised(esapi, auth.parent)
    except TSS2_Exception as error:
        if not refuses_password(int(error.rc)):
            raise
        counted = base(int(error.rc)) == Code.AUTH_FAIL
        raise KeyUnusableError(
            "wrong-password",
            f"the TPM refused the password of {what}"
            + (", and counted this towards the lock-out" if counted else ""),
            "check the password before you try again",
            response_code=int(error.rc),
            needs="parent",
        ) from error


@contextmanager
def loaded(esapi: ESAPI, key: TssKey, auth: Auth = NO_AUTH) -> Iterator[ESYS_TR]:
    """A key file's key, loaded in the TPM; its parent is flushed before this yields.

    Raises:
        KeyUnusableError: it is sealed data, or its parent cannot be used.
        TSS2_Exception: the TPM refuses the key or has no room.
    """
    if key.kind is KeyKind.SEALED:
        raise KeyUnusableError(
            "cannot-sign", "the file holds sealed data, not a key", "choose a file with a key"
        )
    with ExitStack() as stack:
        with parent_of(esapi, key, auth) as (parent, chip):
            handle = load_below(chip, parent, key)
            # Registered before the parent is flushed, because that may fail too.
            stack.enter_context(flushed(esapi, handle))
            is_storage = key.parent == OWNER and not (key.rsa_parent or key.mark)
            if is_storage and (auth.key or auth.owner):
                salted.salt_with(esapi, parent)  # now: later it would have to be created again
        yield handle


def load_below(chip: Any, parent: ESYS_TR, key: TssKey) -> ESYS_TR:
    """TPM2_Load (Part 3, 12.2); an importable key is imported first.

    Args:
        chip: the commands for using the parent.
    """
    loaded_key: ESYS_TR = chip.load(parent, _private(chip, key, parent), public_of(key))
    return loaded_key


def public_of(key: TssKey) -> TPM2B_PUBLIC:
    """A key file's public area for the TSS."""
    area, _ = TPMT_PUBLIC.unmarshal(key.public)
    return TPM2B_PUBLIC(publicArea=area)


def _private(chip: Any, key: TssKey, parent: ESYS_TR) -> TPM2B_PRIVATE:
    """The private part as TPM2_Load needs it; an importable key is imported first."""
    private = TPM2B_PRIVATE(key.private)
    if key.kind is not KeyKind.IMPORTABLE or key.secret is None:
        return private
    secret, _ = TPM2B_ENCRYPTED_SECRET.unmarshal(key.secret)
    if isinstance(chip, SaltedCommands):
        return TPM2B_PRIVATE(chip.import_(parent, public_of(key), private, secret))
    no_inner_wrapper = TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL)
    return chip.import_(parent, b"", public_of(key), private, secret, no_inner_wrapper)
