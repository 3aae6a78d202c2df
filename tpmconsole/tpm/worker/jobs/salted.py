"""Use passwords through a session with the TPM, so that no password is ever sent.

A password goes into the HMAC over each command, and the answer's HMAC proves that the TPM made it.
The session is salted with one of the TPM's keys (Part 1, 17.6.8), so that reading the bus does not
let anyone guess passwords from these HMACs; and secrets in commands and answers are encrypted
(Part 1, 21: AES-128-CFB).

The salt is encrypted to the storage key, whose Name is known. If that key cannot be created yet,
because it needs a password itself, the null hierarchy's primary key is used: this protects against
reading the bus. Something that answers in the TPM's place could then guess passwords, but it is
still not sent them.

The session stays open, because opening it costs the TPM about as much as a signature, and is closed
after a while without jobs. A session saved in a resource manager must not grow old: a TPM opens no
new sessions when the oldest is too old (TPM_RC_CONTEXT_GAP, Part 1, 30.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tpm2_pytss import ESAPI, ESYS_TR, TPMT_PUBLIC, TSS2_Exception

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.secret import Password
from tpmconsole.tpm.responses import Code, base, is_from_tpm, is_transport
from tpmconsole.tpm.worker.jobs.hmac_session import HmacSession
from tpmconsole.tpm.worker.jobs.primary_keys import (
    checked_storage,
    flushed,
    make_primary,
    storage_is_free,
    storage_is_rsa,
)
from tpmconsole.tpm.worker.jobs.salted_commands import SaltedCommands
from tpmconsole.tpm.worker.jobs.templates import storage_key

# A TPM's answers to a cipher, a mode (TPM_RC_MODE), a hash or a command that it lacks.
_LACKING = (Code.SYMMETRIC, 0x089, Code.HASH, Code.COMMAND_CODE)
_LOST = (Code.REFERENCE_S0, Code.CONTEXT_GAP)


@dataclass(frozen=True, slots=True)
class Salted:
    """The open session.

    Attributes:
        session: the session itself.
        by_storage: whether its salt was encrypted to the storage key.
    """

    session: HmacSession
    by_storage: bool


def authorised(esapi: ESAPI, password: Password | None) -> Any:
    """The commands for use with a password; without one, the TSS, as there is nothing to hide."""
    return commands(esapi, password) if password else esapi


def commands(esapi: ESAPI, password: Password | None = None) -> SaltedCommands:
    """The commands in the session, which is opened first if necessary."""
    if esapi.salted is None:
        _open(esapi)
    return SaltedCommands(esapi, esapi.salted.session, password)


def salt_with(esapi: ESAPI, storage: ESYS_TR) -> TPMT_PUBLIC:
    """Open the session with the storage key, which must be loaded, unless one is open.

    Returns:
        the storage key's public area.

    Raises:
        ConsoleError: the storage key differs from the known one.
    """
    public = checked_storage(esapi, storage)
    if esapi.salted is None or not esapi.salted.by_storage:
        close(esapi)
        _start(esapi, storage, public, by_storage=True)
    return public


def close(esapi: ESAPI, *, there: bool = True) -> None:
    """Close the session if one is open.

    Args:
        there: whether the TPM still has it; the handle of a lost one may be another program's.
    """
    salted, esapi.salted = esapi.salted, None
    if salted is None:
        return
    handle = salted.session.handle
    if there:
        try:
            esapi.flush_session(handle)
        except TSS2_Exception as error:
            if is_transport(int(error.rc)):
                raise
    esapi.forget(handle)


def keep(esapi: ESAPI) -> None:
    """Use the session once so that it does not grow old."""
    commands(esapi).get_random()


def is_lost(rc: int) -> bool:
    """Whether the TPM says that it does not have the session."""
    about_session = rc & 0x8C0 == 0x880  # format one, with a session's number (Part 2, 6.6.2)
    return is_from_tpm(rc) and (base(rc) in _LOST or (about_session and base(rc) == Code.HANDLE))


def _open(esapi: ESAPI) -> None:
    by_storage, rsa = storage_is_free(esapi), storage_is_rsa(esapi)
    hierarchy = ESYS_TR.OWNER if by_storage else ESYS_TR.NULL
    with flushed(esapi, make_primary(esapi, hierarchy, storage_key(rsa=rsa))) as key:
        if by_storage:
            salt_with(esapi, key)
        else:
            _start(esapi, key, esapi.read_public(key)[0].publicArea, by_storage=False)


def _start(esapi: ESAPI, key: ESYS_TR, public: TPMT_PUBLIC, *, by_storage: bool) -> None:
    handle = int(esapi.tr_get_tpm_handle(key))
    try:
        session = HmacSession.start(esapi.send, handle, public)
    except TSS2_Exception as error:
        if is_from_tpm(int(error.rc)) and base(int(error.rc)) in _LACKING:
            raise _no_sessions() from error
        raise
    esapi.hold_session(session.handle)
    esapi.salted = Salted(session, by_storage)


def _no_sessions() -> ConsoleError:
    return ConsoleError(
        "No encrypted sessions",
        "this TPM lacks them (AES-128-CFB, SHA-256): a password would be sent in the clear, "
        "and nothing would prove that the TPM itself answers; so no password is sent, and no "
        "key created",
        "use an existing key without a password, or another TPM",
        ExitCode.REFUSED,
    )
