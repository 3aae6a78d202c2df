"""A session's key, kept loaded in the TPM by a worker process of its own.

The key's process can be killed if the TPM hangs, is replaced if the connection breaks, and flushes
the key from the TPM when the process that started it has ended, for whatever reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.model import Connection, KeyRef
from tpmconsole.tpm.worker.dispatcher import Dispatcher

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

# Seconds for one signature; a slow chip needs several for RSA 3072.
DEADLINE_S = 15.0


class Signer:
    """A key kept loaded for many signatures. Any thread may use it; calls run one at a time.

    Args:
        connect: chooses the TPM; called again after the connection was lost.
        source: which key.
        auth: the authorisations for using the key.
        log: the file for messages of the process and the TSS.
        deadline_s: seconds allowed for each signature.

    Raises:
        ConsoleError: the TPM cannot be reached, or refuses the key.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        source: KeyRef,
        auth: Auth = NO_AUTH,
        *,
        log: Path,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        auth.check()
        self._dispatcher = Dispatcher(connect, log)
        self._deadline_s = deadline_s
        self._key = {"source": asdict(source), "auth": auth.to_wire()}
        try:
            self._public = self._ask("held_public_key", "loading the key")
        except ConsoleError:
            self._dispatcher.close()
            raise

    def __enter__(self) -> Signer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sign(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
        """Sign a digest.

        Args:
            hash_name: ``sha256``, ``sha384`` or ``sha512``.
            scheme: ``ecdsa`` (the result is DER), ``rsassa`` or ``rsapss``.

        Raises:
            ConsoleError: the TPM cannot be reached, does not answer in time, or refuses.
        """
        return self._ask("held_sign", "signing", digest=digest, hash_name=hash_name, scheme=scheme)

    def raw_rsa(self, data: bytes) -> bytes:
        """Apply the RSA private operation to padded data of modulus length; raises as ``sign``."""
        return self._ask("held_raw_rsa", "signing", data=data)

    def public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        """The public half of the key, without asking the TPM."""
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        return load_pem_public_key(self._public)  # type: ignore[return-value]

    @property
    def pid(self) -> int | None:
        """The process that holds the key; None if it ended and has not been needed since."""
        return self._dispatcher.worker_pid

    def close(self) -> None:
        """Flush the key from the TPM and end its process."""
        self._dispatcher.close()

    def _ask(self, job: str, label: str, **arguments: Any) -> bytes:
        answer: bytes = self._dispatcher.call(
            job, label, self._deadline_s, {"key": self._key} | arguments
        )
        return answer
