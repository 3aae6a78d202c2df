"""One key kept loaded in the TPM between jobs, because a session signs with it again and again.

Every job carries the whole key, so that a replacement worker can sign too; a worker that already
has the key loaded only signs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from tpm2_pytss import ESAPI, TSS2_Exception

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.keyfile.pem import public_key_pem
from tpmconsole.tpm.responses import Code, base, is_from_tpm
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.open_key import Access, LoadedKey, open_key

LOG = logging.getLogger(__name__)
Answer = TypeVar("Answer")

# Answers about a key that the TPM lost: it was reset, or another program flushed the key.
_GONE = (Code.HANDLE, Code.REFERENCE_H0, Code.INTEGRITY)
_GONE_BEHIND_ABRMD = 0x184  # TPM_RC_VALUE about handle 1: its own copy is older than the reset
_NO_WAY = 0xA000A  # TSS2_TCTI_RC_IO_ERROR: after it, a release does not flush


class _Held:
    """A key that stays loaded in the TPM."""

    def __init__(self, access: Access) -> None:
        self.access = access  # its password lives as long as the job that brought it
        self._stack = ExitStack()
        self._esapi: ESAPI | None = None
        self._key: LoadedKey | None = None

    def use(self, esapi: ESAPI, work: Callable[[LoadedKey], Answer]) -> Answer:
        """Do something with the key, after loading it if the TPM does not have it."""
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
        """Flush the key from the TPM if it is loaded."""
        self._key = self._esapi = None
        with suppress(TSS2_Exception):
            self._stack.close()

    def _forget(self) -> None:
        """Forget a lost key without a flush: its handle may by now be another program's."""
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
    """Load the key and keep it loaded; the answer is its public half, PEM."""
    return public_key_pem(_use(context, key, LoadedKey.public_key))


def sign(
    context: Context, key: Mapping[str, Any], digest: bytes, hash_name: str, scheme: str
) -> bytes:
    """Sign a digest; ECDSA's answer is DER."""
    return _use(context, key, lambda loaded: loaded.sign(digest, hash_name, scheme))


def raw_rsa(context: Context, key: Mapping[str, Any], data: bytes) -> bytes:
    """Apply the RSA private operation to data as long as the modulus."""
    return _use(context, key, lambda loaded: loaded.raw_rsa(data))


def is_held(context: Context) -> bool:
    """Whether a key is held: then the next signature may be requested at any moment."""
    return context in _held


def release(context: Context) -> None:
    """Flush the held key from the TPM."""
    held = _held.pop(context, None)
    if held is not None:
        try:
            context.run(lambda _: held.release())
        except ConsoleError as error:
            LOG.info("key not flushed: %s", error)
