"""One session with the TPM through which every password is used, so that none is ever sent.

It is an HMAC session (Part 1, 17.6): a password goes into the HMAC over each command, and the
answer's HMAC proves that it is the TPM's. It is salted with a key of the TPM's (Part 1, 17.6.8), so
that who reads the bus cannot try passwords against these HMACs either, and where a command brings
or fetches a secret, that is encrypted (Part 1, 21: AES-128-CFB).

The salt is encrypted to the storage key, whose Name is known. Where that cannot be made yet, since
it takes a password by itself, the null hierarchy's primary key stands in: good against who reads.
Who answers in the TPM's place could try passwords then, but still is not told them.

It stays open, because opening it costs the TPM about as much as a signature; and where nothing was
done for a while it is closed. A session that stays saved in a resource manager is not to grow old:
a TPM makes no new ones when the oldest is too old (TPM_RC_CONTEXT_GAP, Part 1, 30.5).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2_SE,
    TPMA_SESSION,
    TPMT_SYM_DEF,
    TPMU_SYM_KEY_BITS,
    TPMU_SYM_MODE,
    TSS2_Exception,
)

from tpmconsole.tpm.responses import Code, base, is_from_tpm, is_transport
from tpmconsole.tpm.worker.jobs.primary_keys import (
    check_storage,
    flushed,
    make_primary,
    storage_is_free,
    storage_is_rsa,
)
from tpmconsole.tpm.worker.jobs.tss_memory import Node, newest_node

LOG = logging.getLogger(__name__)

_LOST = (Code.REFERENCE_S0, Code.CONTEXT_GAP)


@dataclass(frozen=True, slots=True)
class Salted:
    """The session that is open.

    Attributes:
        handle: the TSS's for it.
        by_storage: whether its salt was encrypted to the storage key.
        node: where the TSS keeps it.
    """

    handle: ESYS_TR
    by_storage: bool
    node: Node | None


def session(esapi: ESAPI, *, hides: bool = False) -> ESYS_TR:
    """The session for the next command; opened where there is none.

    Args:
        hides: encrypt the command's first parameter and the answer's. Both must be sized buffers
            (Part 1, 21.1): of those that we send, TPM2_Create's, TPM2_Import's and TPM2_Load's are.
    """
    if esapi.salted is None:
        _open(esapi)
    attributes = TPMA_SESSION.CONTINUESESSION
    if hides:
        attributes |= TPMA_SESSION.DECRYPT | TPMA_SESSION.ENCRYPT
    esapi.trsess_set_attributes(esapi.salted.handle, attributes)
    return esapi.salted.handle


def salt_with(esapi: ESAPI, storage: ESYS_TR) -> None:
    """Open the session with the storage key, which is in the TPM now, unless one is open.

    Raises:
        ConsoleError: it is not the storage key that is known.
    """
    check_storage(esapi, storage)
    if esapi.salted is None or not esapi.salted.by_storage:
        close(esapi)
        esapi.salted = _start(esapi, storage, by_storage=True)


def close(esapi: ESAPI, *, there: bool = True) -> None:
    """End the session where one is open.

    Args:
        there: whether the TPM has it still; one that it has lost may be somebody else's by now.
    """
    salted, esapi.salted = esapi.salted, None
    if salted is None:
        return
    try:
        if there:
            esapi.release(salted.handle)
            return
    except TSS2_Exception as error:
        if is_transport(int(error.rc)):
            raise
    esapi.forget(salted.handle)


def keep(esapi: ESAPI) -> None:
    """Use the session for nothing, so that it does not grow old."""
    attributes = TPMA_SESSION.CONTINUESESSION | TPMA_SESSION.ENCRYPT
    esapi.trsess_set_attributes(esapi.salted.handle, attributes)
    esapi.get_random(8, session1=esapi.salted.handle)


def is_lost(rc: int) -> bool:
    """Whether the TPM says that it does not have the session (any more)."""
    about_session = rc & 0x8C0 == 0x880  # format one, with a session's number (Part 2, 6.6.2)
    return is_from_tpm(rc) and (base(rc) in _LOST or (about_session and base(rc) == Code.HANDLE))


def wipe(esapi: ESAPI) -> None:
    """Zero the copy of the last password that the TSS keeps in its note of the session."""
    if esapi.salted is not None and esapi.salted.node is not None:
        esapi.salted.node.wipe()


def _open(esapi: ESAPI) -> None:
    by_storage, rsa = storage_is_free(esapi), storage_is_rsa(esapi)
    hierarchy = ESYS_TR.OWNER if by_storage else ESYS_TR.NULL
    with flushed(esapi, make_primary(esapi, hierarchy, rsa=rsa)) as key:
        if by_storage:
            salt_with(esapi, key)
        else:
            esapi.salted = _start(esapi, key, by_storage=False)


def _start(esapi: ESAPI, key: ESYS_TR, *, by_storage: bool) -> Salted:
    """TPM2_StartAuthSession (Part 3, 11.1), salted and not bound to anything."""
    cipher = TPMT_SYM_DEF(
        algorithm=TPM2_ALG.AES,
        keyBits=TPMU_SYM_KEY_BITS(aes=128),
        mode=TPMU_SYM_MODE(aes=TPM2_ALG.CFB),
    )
    handle = esapi.start_auth_session(key, ESYS_TR.NONE, TPM2_SE.HMAC, cipher, TPM2_ALG.SHA256)
    esapi.hold(handle)
    return Salted(handle, by_storage, newest_node(esapi.context, int(handle)))
