"""One key kept in the TPM between jobs: a session signs with the same again and again.

Every job brings the whole key with it, so that a worker that had to be replaced signs as well as
the one before; one that has it already does nothing but sign.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from tpm2_pytss import ESAPI, TSS2_Exception

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.responses import Code, base, is_from_tpm
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.open_key import Access, LoadedKey, open_key

LOG = logging.getLogger(__name__)
Answer = TypeVar("Answer")

# What is said of a key that the TPM has no more: it was reset, or somebody has flushed the key.
_GONE = (Code.HANDLE, Code.REFERENCE_H0, Code.INTEGRITY)
_GONE_BEHIND_ABRMD = 0x184  # TPM_RC_VALUE about handle 1: its own copy is older than the reset
_NO_WAY = 0xA000A  # TSS2_TCTI_RC_IO_ERROR: what is released after it is not flushed


class _Held:
    """A key that stays in the TPM."""

    def __init__(self, access: Access) -> None:
        self.access = access  # its password lives as long as the job that brought it
        self._stack = ExitStack()
        self._esapi: ESAPI | None = None
        self._key: LoadedKey | None = None

    def use(self, esapi: ESAPI, work: Callable[[LoadedKey], Answer]) -> Answer:
        """Do something with the key; loads it where it is not in the TPM, or no more."""
        was_there = self._key is not None and self._esapi is esapi
        try:
            return work(self._there(esapi))
        except TSS2_Exception as error:
            rc = int(error.rc)
            if not is_from_tpm(rc):
                self._forget()
            if not (was_there and _is_gone(rc)):
                raise
            LOG.info("the TPM has lost the key (%s): it is loaded again", error)
            self._forget()
            return work(self._there(esapi))

    def release(self) -> None:
        """Take the key out of the TPM, where it is there."""
        self._key = self._esapi = None
        with suppress(TSS2_Exception):
            self._stack.close()

    def _forget(self) -> None:
        """The key is gone: its handle leads nowhere, or by now to something of somebody else's."""
        self._key = self._esapi = None
        gone = TSS2_Exception(_NO_WAY)
        with suppress(TSS2_Exception), self._stack:
            raise gone

    def _there(self, esapi: ESAPI) -> LoadedKey:
        if self._key is None or self._esapi is not esapi:
            self._forget()
            self._key = self._stack.enter_context(open_key(esapi, self.access))
            self._esapi = esapi
        self._key.password = self.access.auth.key
        return self._key


def _is_gone(rc: int) -> bool:
    return is_from_tpm(rc) and (base(rc) in _GONE or rc == _GONE_BEHIND_ABRMD)


_held: WeakKeyDictionary[Context, _Held] = WeakKeyDictionary()


def _use(context: Context, key: Mapping[str, Any], work: Callable[[LoadedKey], Answer]) -> Answer:
    access = Access.of(key)
    held = _held.get(context)
    if held is None or held.access.source != access.source:
        release(context)
        held = _held[context] = _Held(access)
    held.access = access
    return context.run(lambda esapi: held.use(esapi, work))


def public_key(context: Context, key: Mapping[str, Any]) -> bytes:
    """The key's public half, PEM; from now on the key is in the TPM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = _use(context, key, LoadedKey.public_key)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sign(
    context: Context, key: Mapping[str, Any], digest: bytes, hash_name: str, scheme: str
) -> bytes:
    """Sign a digest; ECDSA's answer is DER."""
    return _use(context, key, lambda loaded: loaded.sign(digest, hash_name, scheme))


def raw_rsa(context: Context, key: Mapping[str, Any], data: bytes) -> bytes:
    """RSA's private operation on data as long as the modulus."""
    return _use(context, key, lambda loaded: loaded.raw_rsa(data))


def is_held(context: Context) -> bool:
    """Whether a key is held: the next signature may be asked for at any time."""
    return context in _held


def release(context: Context) -> None:
    """Take the key that is held out of the TPM."""
    held = _held.pop(context, None)
    if held is not None:
        try:
            context.run(lambda _: held.release())
        except ConsoleError as error:
            LOG.info("key not flushed: %s", error)
