"""Authorisation values on their way through the TSS, of which none stays in its memory.

The TSS keeps the value of each object that it knows, what the last key was made with, the last
value that a session was used with, and the bytes of the last command in the buffer that it sent
them from. It zeroes none of them, and gives all back to the allocator as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2B_AUTH,
    TPM2B_SENSITIVE_CREATE,
    TPMS_SENSITIVE_CREATE,
)

from tpmconsole.secret import Password
from tpmconsole.tpm.worker.jobs import salted
from tpmconsole.tpm.worker.jobs.tss_memory import wipe_buffer, wipe_copy


@contextmanager
def authorised(
    esapi: ESAPI, handle: ESYS_TR, password: Password | None, *, hides: bool = False
) -> Iterator[ESYS_TR]:
    """Let the TSS know an object's password for some commands; it would keep it for later ones.

    Args:
        hides: as for ``salted.session``.

    Yields:
        the session for these commands: the salted one; without a password there is nothing to hide,
        and none is needed.
    """
    if not password:  # as the TSS has it of everything whose password it was not told
        yield ESYS_TR.PASSWORD
        return
    session = salted.session(esapi, hides=hides)
    value = TPM2B_AUTH(bytes(len(password)))
    value.buffer[:] = password
    try:
        esapi.tr_set_auth(handle, value)
    finally:
        value.buffer[:] = bytes(len(value))
    try:
        yield session
    finally:
        esapi.tr_set_auth(handle, None)  # zeroes all of it
        salted.wipe(esapi)


@contextmanager
def sensitive(esapi: ESAPI, password: Password | None) -> Iterator[TPM2B_SENSITIVE_CREATE]:
    """What a new key is made with, until it is made."""
    size = len(password or b"")
    made = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=bytes(size)))
    value = made.sensitive.userAuth.buffer
    value[:] = password or b""
    try:
        yield made
    finally:
        wipe_copy(esapi.context, made)
        value[:] = bytes(size)


def wipe(esapi: ESAPI) -> None:
    """Write over the last command in the TSS's buffer; the TPM is not asked."""
    wipe_buffer(esapi.context)
