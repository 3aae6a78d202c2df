"""One key kept in the TPM to sign with, by a worker process of its own: for a session.

The key's process can be killed where the TPM hangs, is replaced where the way to it broke, and
takes the key out of the TPM when whoever started it is gone, however that came.
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

# Seconds for one signature; an RSA-3072 one takes a slow chip several.
DEADLINE_S = 15.0


class Signer:
    """A key kept loaded for many signatures. Any thread may use it; one at a time is served.

    Args:
        connect: which TPM; asked again where the connection was lost.
        source: which key.
        auth: what using the key takes.
        log: where the process writes what it and the TSS have to say.
        deadline_s: for each signature.

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
            scheme: ``ecdsa`` (the answer is DER), ``rsassa`` or ``rsapss``.

        Raises:
            ConsoleError: the TPM cannot be reached, does not answer in time, or refuses.
        """
        return self._ask("held_sign", "signing", digest=digest, hash_name=hash_name, scheme=scheme)

    def raw_rsa(self, data: bytes) -> bytes:
        """RSA's private operation on padded data as long as the modulus; raises as ``sign``."""
        return self._ask("held_raw_rsa", "signing", data=data)

    def public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        """The key's public half; the TPM is not asked."""
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        return load_pem_public_key(self._public)  # type: ignore[return-value]

    @property
    def pid(self) -> int | None:
        """The process that holds the key; None where it has ended and none was needed since."""
        return self._dispatcher.worker_pid

    def close(self) -> None:
        """Take the key out of the TPM, and end its process."""
        self._dispatcher.close()

    def _ask(self, job: str, label: str, **arguments: Any) -> bytes:
        answer: bytes = self._dispatcher.call(
            job, label, self._deadline_s, {"key": self._key} | arguments
        )
        return answer
