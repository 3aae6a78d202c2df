"""Create the hierarchies' primary keys when needed, and check the storage key's Name.

The storage key is the owner hierarchy's primary key: keys are wrapped for it, and sessions salted
with it. Anything between us and the TPM could present a key of its own instead, so its Name
(Part 1, 16) is compared with the one seen first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2_PT,
    TPM2B_DATA,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPML_PCR_SELECTION,
    TPMT_PUBLIC,
    TSS2_Exception,
)

from tpmconsole.tpm.errors import tpm_changed
from tpmconsole.tpm.responses import is_transport
from tpmconsole.tpm.worker.jobs import capability

# TPMA_PERMANENT and TPMA_STARTUP_CLEAR, Part 2, 8.6 and 8.7.
OWNER_AUTH, ENDORSEMENT_AUTH, _OWNER_ON = 1 << 0, 1 << 1, 1 << 1


@contextmanager
def released(release: Callable[[], object]) -> Iterator[None]:
    """Release something at the end whatever happens, unless the connection to the TPM broke."""
    try:
        yield
    except BaseException as error:
        if not (isinstance(error, TSS2_Exception) and is_transport(int(error.rc))):
            with suppress(TSS2_Exception):  # report the first error, not this one
                release()
        raise
    release()


@contextmanager
def flushed(esapi: ESAPI, handle: ESYS_TR) -> Iterator[ESYS_TR]:
    """Flush a loaded object from the TPM at the end."""
    esapi.hold(handle)
    with released(lambda: esapi.release(handle)):
        yield handle


def storage_is_rsa(esapi: ESAPI) -> bool:
    """Whether this TPM's storage key is an RSA key, because it has no elliptic curves."""
    return not capability.has_algorithm(esapi, TPM2_ALG.ECC)


def make_primary(esapi: ESAPI, hierarchy: ESYS_TR, template: TPM2B_PUBLIC) -> ESYS_TR:
    """TPM2_CreatePrimary (Part 3, 24.1) in a hierarchy without a password."""
    handle, *_ = esapi.create_primary(
        primary_handle=hierarchy,
        in_sensitive=TPM2B_SENSITIVE_CREATE(),
        in_public=template,
        outside_info=TPM2B_DATA(),
        creation_pcr=TPML_PCR_SELECTION(),
    )
    return handle


def storage_is_free(esapi: ESAPI) -> bool:
    """Whether the storage key can be created without a password."""
    state = capability.properties(esapi, TPM2_PT.VAR)
    closed = state.get(TPM2_PT.PERMANENT, 0) & OWNER_AUTH
    return not closed and bool(state.get(TPM2_PT.STARTUP_CLEAR, 0) & _OWNER_ON)


def checked_storage(esapi: ESAPI, key: ESYS_TR) -> TPMT_PUBLIC:
    """The storage key's public area, after checking its Name; the first one seen becomes known.

    The Name is computed from the very public area that callers then encrypt to.

    Raises:
        ConsoleError: the Name differs from the known one.
    """
    made = esapi.entity(key).name.hex()
    known = esapi.storage.name or made
    if made != known:
        raise tpm_changed(known, made)
    public, _, _ = esapi.read_public(key)
    read = bytes(public.get_name()).hex()
    if read != known:
        raise tpm_changed(known, read)
    esapi.storage.name = known
    return public.publicArea
