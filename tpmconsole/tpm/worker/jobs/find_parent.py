"""Find the parent of a key file whose named parent is not the right one.

A key loads below a single parent, and the TPM does not say which (it answers TPM_RC_INTEGRITY for
any other), so the only way is to try. Loading authorises the parent, not the key, so this uses up
no attempt if the parent has noDA, or was made just now without a password.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tpm2_pytss import ESAPI, ESYS_TR, TPM2_PT, TPM2B_PUBLIC, TSS2_Exception

from tpmconsole.errors import ConsoleError
from tpmconsole.secret import Password
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.errors import KeyUnusableError
from tpmconsole.tpm.handles import PERSISTENT_FIRST, SRK
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.keyfile.key import TssKey
from tpmconsole.tpm.primaries import ENDORSEMENT, OWNER, Parent
from tpmconsole.tpm.responses import BUSY, NO_ROOM, Code, base, is_from_tpm
from tpmconsole.tpm.worker.jobs import capability
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.load_key import (
    HIERARCHIES,
    load_below,
    persistent,
    primary,
    template_of,
)
from tpmconsole.tpm.worker.jobs.primary_keys import ENDORSEMENT_AUTH, OWNER_AUTH, flushed
from tpmconsole.tpm.worker.jobs.templates import storage_key

LOG = logging.getLogger(__name__)

_STORES = public_area.RESTRICTED | public_area.DECRYPT
# Answers about the TPM's present state, not about the key and its parent.
_PASSING = (*BUSY, *NO_ROOM, Code.INITIALIZE, Code.LOCKOUT)


def loads_below(
    context: Context,
    keys: Sequence[bytes],
    auth: Mapping[str, Any],
    parent: Mapping[str, Any] | None = None,
) -> list[bool]:
    """Whether each key loads below a primary key.

    Args:
        keys: the content of key files.
        auth: the hierarchy's.
        parent: which primary key, as ``Parent``; by default the one that each file names. The
            result is then False for a file that names a persistent handle.
    """
    parsed, known = [keyfile.parse(pem) for pem in keys], Auth.of(auth).owner

    def work(esapi: ESAPI) -> list[bool]:
        if parent is not None:
            meant = Parent(**parent)
            template = storage_key(rsa=meant.rsa, zeros=meant.zeros, noda=meant.noda)
            return _below(esapi, meant.handle, template, parsed, known)
        return [
            key.parent in HIERARCHIES
            and _below(esapi, key.parent, template_of(esapi, key), [key], known)[0]
            for key in parsed
        ]

    return context.run(work)


def _below(
    esapi: ESAPI,
    number: int,
    template: TPM2B_PUBLIC,
    keys: Sequence[TssKey],
    known: Password | None,
) -> list[bool]:
    """Whether each key loads below a primary key; False if that cannot be made."""
    password = known if _is_closed(esapi, number) else None
    if _is_closed(esapi, number) and password is None:
        return [False] * len(keys)
    try:
        with primary(esapi, HIERARCHIES[number], password, template=template) as above:
            return [_loads(esapi, above, key) for key in keys]
    except KeyUnusableError:  # another hierarchy's password
        return [False] * len(keys)
    except TSS2_Exception as error:
        if _passes(error):
            raise
        return [False] * len(keys)  # hierarchy switched off, or curve or size not supported


def _is_closed(esapi: ESAPI, number: int) -> bool:
    """Whether a hierarchy has a password; False for the platform's, which is not reported."""
    bits = {OWNER: OWNER_AUTH, ENDORSEMENT: ENDORSEMENT_AUTH}.get(number, 0)
    return bool(capability.properties(esapi, TPM2_PT.VAR).get(TPM2_PT.PERMANENT, 0) & bits)


def handles_above(context: Context, keys: Sequence[bytes]) -> list[int]:
    """The persistent handle of each key's parent; 0 if not found without risk to an attempt.

    If the parent is at more than one handle, the one that the key's file names comes first.
    """
    parsed = [keyfile.parse(pem) for pem in keys]

    def work(esapi: ESAPI) -> list[int]:
        found = [0] * len(parsed)
        handles = capability.handles(esapi, PERSISTENT_FIRST)
        for handle in sorted(handles, key=lambda one: one != SRK):
            for number, fits in enumerate(_at(esapi, handle, parsed)):
                if fits and (not found[number] or handle == parsed[number].parent):
                    found[number] = handle
        return found

    return context.run(work)


def _at(esapi: ESAPI, handle: int, keys: Sequence[TssKey]) -> list[bool]:
    """Whether each key loads below the key at a handle; not tried if a refusal could count."""
    try:
        with persistent(esapi, handle) as above:
            if above.area.attributes & _STORES == _STORES and above.area.has_noda:
                return [_loads(esapi, above.handle, key) for key in keys]
    except ConsoleError as error:  # it is gone by now, or cannot be a parent
        LOG.info("not tried as a parent: %s", error)
    except TSS2_Exception as error:
        if _passes(error):
            raise
    return [False] * len(keys)


def _loads(esapi: ESAPI, above: ESYS_TR, key: TssKey) -> bool:
    try:
        with flushed(esapi, load_below(esapi, above, key)):
            return True
    except TSS2_Exception as error:
        if _passes(error):
            raise
        return False


def _passes(error: TSS2_Exception) -> bool:
    """Whether an error is about the TPM's state or connection, not about a key's parent."""
    rc = int(error.rc)
    return not is_from_tpm(rc) or base(rc) in _PASSING
