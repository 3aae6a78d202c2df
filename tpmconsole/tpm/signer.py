"""One key kept in the TPM to sign with, over a connection of its own: for a session's process.

This imports the TSS: for child processes only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, TypeVar

from tpm2_pytss import ESAPI, TSS2_Exception

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.jobs.context import Context
from tpmconsole.tpm.jobs.opening import Access, LoadedKey, open_key, public_key_of
from tpmconsole.tpm.model import KeySource
from tpmconsole.tpm.passwords import Passwords, check_password
from tpmconsole.tpm.responses import is_transport

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

LOG = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class Signer:
    """A key kept loaded for many signatures, over a connection of its own.

    It loads the key again where the way to the TPM broke: a session outlives a restart of the
    resource manager. Not for several threads at once.

    Args:
        tcti: which TPM.
        source: which key.
        password: the key's, where it has one.

    Raises:
        ConsoleError: the TPM cannot be reached, or refuses the key.
    """

    def __init__(self, tcti: str, source: KeySource, password: bytes | None = None) -> None:
        check_password(password)
        self._context = Context(tcti)
        self._access = Access(source, Passwords(password))
        self._stack = ExitStack()
        self._key: LoadedKey | None = None
        self._area = self._do(lambda key: key.area)

    def __enter__(self) -> Signer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sign(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
        """Sign a digest.

        Args:
            hash_name: ``sha256``, ``sha384`` or ``sha512``.
            scheme: ``ecdsa`` (the answer is DER), ``rsassa`` or ``rsapss``.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses.
        """
        return self._do(lambda key: key.sign(digest, hash_name, scheme))

    def raw_rsa(self, data: bytes) -> bytes:
        """RSA's private operation on padded data as long as the modulus; raises as ``sign``."""
        return self._do(lambda key: key.raw_rsa(data))

    def public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        """The key's public half; no TPM command."""
        return public_key_of(self._area)

    def close(self) -> None:
        """Take the key out of the TPM and close the connection."""
        if self._key is not None:
            self._key = None
            try:
                self._context.run(lambda _: self._stack.close())
            except ConsoleError as error:  # the key went with the connection
                LOG.info("key not flushed: %s", error)
        self._context.close()

    def _do(self, work: Callable[[LoadedKey], Answer]) -> Answer:
        was_open = self._key is not None
        try:
            return self._context.run(lambda esapi: work(self._opened(esapi)))
        except ConsoleError as error:
            if not is_transport(error.response_code):
                raise
            # The context is gone and the key with it: nothing is left to flush.
            with suppress(TSS2_Exception), self._stack:
                raise error.__cause__ or error from None
            self._key = None
            if not was_open:
                raise
            return self._context.run(lambda esapi: work(self._opened(esapi)))

    def _opened(self, esapi: ESAPI) -> LoadedKey:
        if self._key is None:
            self._key = self._stack.enter_context(open_key(esapi, self._access))
        return self._key
