"""Passwords used through one session with the TPM, so that none is ever sent.

A password goes into the HMAC over each command, and the answer's HMAC proves that it is the TPM's.
The session is salted with a key of the TPM's (Part 1, 17.6.8), so that who reads the bus cannot try
passwords against these HMACs either; and where a command brings or fetches a secret, that is
encrypted (Part 1, 21: AES-128-CFB).

The salt is encrypted to the storage key, whose Name is known. Where that cannot be made yet, since
it takes a password by itself, the null hierarchy's primary key stands in: good against who reads.
Who answers in the TPM's place could try passwords then, but still is not told them.

It stays open, because opening it costs the TPM about as much as a signature; and where nothing was
done for a while it is closed. A session that stays saved in a resource manager is not to grow old:
a TPM makes no new ones when the oldest is too old (TPM_RC_CONTEXT_GAP, Part 1, 30.5).
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

# What a TPM says to a cipher, a mode (TPM_RC_MODE), a hash or a command that it lacks.
_LACKING = (Code.SYMMETRIC, 0x089, Code.HASH, Code.COMMAND_CODE)
_LOST = (Code.REFERENCE_S0, Code.CONTEXT_GAP)


@dataclass(frozen=True, slots=True)
class Salted:
    """The session that is open.

    Attributes:
        session: it.
        by_storage: whether its salt was encrypted to the storage key.
    """

    session: HmacSession
    by_storage: bool


def authorised(esapi: ESAPI, password: Password | None) -> Any:
    """What has the commands that need a password; without one there is nothing to hide: the TSS."""
    return commands(esapi, password) if password else esapi


def commands(esapi: ESAPI, password: Password | None = None) -> SaltedCommands:
    """The commands in the session, which is opened where there is none."""
    if esapi.salted is None:
        _open(esapi)
    return SaltedCommands(esapi, esapi.salted.session, password)


def salt_with(esapi: ESAPI, storage: ESYS_TR) -> TPMT_PUBLIC:
    """Open the session with the storage key, which is in the TPM now, unless one is open.

    Returns:
        the storage key's public area.

    Raises:
        ConsoleError: it is not the storage key that is known.
    """
    public = checked_storage(esapi, storage)
    if esapi.salted is None or not esapi.salted.by_storage:
        close(esapi)
        _start(esapi, storage, public, by_storage=True)
    return public


def close(esapi: ESAPI, *, there: bool = True) -> None:
    """End the session where one is open.

    Args:
        there: whether the TPM has it still; one that it has lost may be somebody else's by now.
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
    """Use the session for nothing, so that it does not grow old."""
    commands(esapi).get_random()


def is_lost(rc: int) -> bool:
    """Whether the TPM says that it does not have the session (any more)."""
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
        "this TPM lacks them (AES-128-CFB, SHA-256): a password would cross to it in the clear, "
        "and nothing would prove that it is the TPM that answers; so no password is sent, and no "
        "key made",
        "use a key that is there and has no password, or another TPM",
        ExitCode.REFUSED,
    )
