"""The TPM for the rest of the console: typed questions, answered by the worker process.

Only the standard library is imported here at first: the console's first paint waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.errors import ConsoleError
from tpmconsole.secret import Password
from tpmconsole.tpm.auth import NO_AUTH, AttemptCost, Auth, secret
from tpmconsole.tpm.model import (
    Algorithm,
    Connection,
    KeyCheck,
    KeyRef,
    PersistentKey,
    Room,
    SelfTest,
    TpmHealth,
)
from tpmconsole.tpm.worker import protocol
from tpmconsole.tpm.worker.dispatcher import Activity, Dispatcher

if TYPE_CHECKING:
    from tpmconsole.tpm.keyfile.public_area import PublicArea
    from tpmconsole.tpm.primaries import Parent

LOG = logging.getLogger(__name__)

# Seconds a job may take, by its kind. Chips are slow: an RSA key takes minutes on some.
DEADLINES: Mapping[str, float] = {"read": 5, "sign": 15, "ec": 60, "self-test": 120, "rsa": 180}


class Tpm:
    """The one lane to the TPM; any thread may call any method, jobs run one after the other.

    Args:
        connect: finds out which TPM, starting the simulator where that is asked for; called again
            when the connection was lost.
        log: the log file; the worker's standard error goes there.
        deadlines: seconds by kind of job where they shall differ from ``DEADLINES``.
        learned: as ``Dispatcher``'s.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        log: Path,
        *,
        deadlines: Mapping[str, float] | None = None,
        learned: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._dispatcher = Dispatcher(connect, log, learned)
        self._deadlines = {**DEADLINES, **(deadlines or {})}

    @property
    def connection(self) -> Connection | None:
        """The TPM that was last connected to."""
        return self._dispatcher.connection

    @property
    def worker_pid(self) -> int | None:
        """The process that does the jobs; None while there is none."""
        return self._dispatcher.worker_pid

    @property
    def activity(self) -> Activity | None:
        """What runs now; None when idle."""
        return self._dispatcher.activity

    def start(self) -> None:
        """Connect and open the TPM in the background, so that the first question is quick."""
        threading.Thread(target=self._warm_up, name="tpm-start", daemon=True).start()

    def _warm_up(self) -> None:
        try:
            self._ask("ping", "read", "opening the TPM")
        except ConsoleError as error:  # the first question meets and reports it again
            LOG.info("%s", error)

    def health(self, *, brief: bool = False) -> TpmHealth:
        """How the TPM is; also for one in failure mode, as far as that tells.

        Args:
            brief: without its PCRs, and in a quarter of the commands: to look at again and again.

        Raises:
            ConsoleError: the TPM cannot be reached or does not answer.
        """
        answer = self._ask("health", "read", "reading the TPM's state", brief=brief)
        return self._with_connection(protocol.health(answer))

    def _with_connection(self, health: TpmHealth) -> TpmHealth:
        """The TPM's state, and how it was reached."""
        connection = self._dispatcher.connection
        if connection is None:
            return health
        return replace(
            health,
            tcti=connection.tcti,
            tcti_why=connection.why,
            simulated=health.simulated or connection.simulated,
        )

    def self_test(self, *, full: bool) -> tuple[SelfTest, TpmHealth]:
        """Let the TPM test itself and read its own result back.

        Args:
            full: everything; else what has not been tested yet.

        Returns:
            the result, and the TPM's state after the test as ``health(brief=True)`` tells it.

        Raises:
            ConsoleError: the TPM cannot be reached or does not answer; a test that fails is an
                answer, not an error.
        """
        label = f"running the {'full' if full else 'incremental'} self-test"
        answer = self._ask("self_test", "self-test", label, full=full)
        health = self._with_connection(protocol.health(answer["health"]))
        return protocol.self_test(answer["self_test"]), health

    def persistent_keys(self) -> tuple[PersistentKey, ...]:
        """The keys kept inside the TPM.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses.
        """
        keys = self._ask("persistent_keys", "sign", "listing persistent keys")
        return tuple(protocol.persistent_key(key) for key in keys)

    def room(self) -> Room:
        """The room for persistent keys: a small part of ``health``, where a chip is slow.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses.
        """
        return Room(**self._ask("room", "read", "asking for room"))

    def check_key(self, key: KeyRef, auth: Auth = NO_AUTH) -> KeyCheck:
        """Try a key: load it, sign a nonce, verify that in software.

        Raises:
            ConsoleError: the TPM cannot be reached; what makes a key unusable is an answer.
        """
        answer = self._ask("usable", "sign", "trying a key", key=_access(key, auth))
        return KeyCheck(**answer)

    def create(
        self,
        algorithm: Algorithm,
        auth: Auth = NO_AUTH,
        *,
        noda: bool = False,
    ) -> bytes:
        """Make a key in the TPM, below the owner hierarchy's primary key.

        Args:
            auth: with what the key will ask for, and the owner hierarchy's where it has one.
            noda: wrong passwords do not count towards the lock-out.

        Returns:
            a TSS2 key file, PEM.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses; nothing was made.
        """
        pem: bytes = self._ask(
            "create",
            "rsa" if algorithm.slow else "ec",
            f"making an {algorithm.words} key",
            algorithm=algorithm.value,
            auth=auth.to_wire(),
            noda=noda,
        )
        return pem

    def import_key(
        self,
        pkcs8: Password,
        algorithm: Algorithm,
        auth: Auth = NO_AUTH,
        *,
        noda: bool = False,
    ) -> bytes:
        """Wrap a key that was made elsewhere for this TPM, and let the TPM prove that it has it.

        Args:
            pkcs8: the private key, DER without encryption; it travels to the TPM encrypted.
            algorithm: its kind.
            auth, noda: as ``create``'s.

        Returns:
            a TSS2 key file, PEM.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses; nothing was made.
        """
        try:
            pem: bytes = self._ask(
                "import_key",
                "ec",
                f"importing an {algorithm.words} key",
                pkcs8=secret(pkcs8),
                algorithm=algorithm.value,
                auth=auth.to_wire(),
                noda=noda,
            )
        finally:
            self._dispatcher.renew()  # its memory has copies that nobody can wipe
        return pem

    def persist(self, pem: bytes, handle: int, auth: Auth = NO_AUTH) -> None:
        """Put a copy of a key file's key at a persistent handle; one that is there stays.

        Raises:
            ConsoleError: the handle is no good or in use, the TPM is full or refuses; nothing
                was changed.
        """
        arguments = {"pem": pem, "handle": handle, "auth": auth.to_wire()}
        self._ask("persist", "sign", f"persisting a key at 0x{handle:08x}", **arguments)

    def evict(self, handle: int, auth: Auth = NO_AUTH) -> None:
        """Remove a key from a persistent handle, for good.

        Raises:
            ConsoleError: there is none, or the TPM refuses.
        """
        arguments = {"handle": handle, "auth": auth.to_wire()}
        self._change("evict", f"evicting 0x{handle:08x}", arguments)

    def reset_lockout(self, password: Password | None = None) -> None:
        """Forget all wrong passwords, so that protected keys can be used again.

        TPM2_DictionaryAttackLockReset (Part 3, 25.2).

        Args:
            password: the lockout authorisation, where it is set. A wrong one is not forgiven for
                ``Lockout.recovery_s``: until then the right one is refused, too.

        Raises:
            ConsoleError: it is needed and was not given (nothing was tried), or the TPM refuses.
        """
        self._change("reset_lockout", "resetting the lock-out", {"password": secret(password)})

    def public_pem(self, key: KeyRef) -> bytes:
        """The public key, SubjectPublicKeyInfo PEM; a key file's is read without the TPM.

        Raises:
            ConsoleError: there is no such key, or its file is damaged.
        """
        if key.pem is not None:
            return _public_of_file(key.pem)
        pem: bytes = self._ask("public_pem", "read", "reading a public key", handle=key.handle)
        return pem

    def read_public(self, key: KeyRef, auth: Auth = NO_AUTH) -> PublicArea:
        """A key's public area as the TPM has it now; a key file's is loaded for that.

        Args:
            auth: the parent's or the hierarchy's; the key's own is not used.

        Raises:
            ConsoleError: there is no such key or the TPM refuses it, or its kind is unknown here.
        """
        from tpmconsole.tpm.keyfile import public_area

        kind = "read" if key.pem is None else "sign"
        answer = self._ask("read_public", kind, "reading a public key", key=_access(key, auth))
        return public_area.named(answer["area"], answer["name"])

    def find_parents(self, pems: Sequence[bytes], auth: Auth = NO_AUTH) -> list[Parent | None]:
        """What key files are below; spends no attempt.

        Only loading is tried, and that below keys whose wrong passwords do not count. It may take
        a minute: some primary keys are RSA keys.

        Args:
            pems: the key files' content.
            auth: the owner hierarchy's.

        Returns:
            for each what it is below, ``AS_SAID`` where its file says so; None for none of the
            usual.

        Raises:
            ConsoleError: the TPM cannot be reached, or a file is damaged.
        """
        from tpmconsole.tpm import keyfile
        from tpmconsole.tpm.primaries import AS_SAID, USUAL, at_handle

        found: dict[int, Parent] = {}

        def ask(job: str, kind: str, label: str, **arguments: Any) -> list[tuple[int, int]]:
            """The keys that are not found yet; their numbers with the answers that say yes."""
            left = [number for number in range(len(pems)) if number not in found]
            keys = [pems[number] for number in left]
            answers = self._ask(job, kind, label, keys=keys, **arguments) if keys else []
            return [(number, one) for number, one in zip(left, answers, strict=True) if one]

        label, known = "looking for the key's parent", auth.to_wire()
        found |= {number: AS_SAID for number, _ in ask("loads_below", "ec", label, auth=known)}
        for number, handle in ask("handles_above", "ec", label):
            said = handle == keyfile.parse(pems[number]).parent
            found[number] = AS_SAID if said else at_handle(handle)
        for parent in USUAL:
            kind = "rsa" if parent.rsa else "ec"
            more = {"parent": asdict(parent), "auth": known}
            found |= {number: parent for number, _ in ask("loads_below", kind, label, **more)}
        return [found.get(number) for number in range(len(pems))]

    def sign(
        self,
        key: KeyRef,
        digest: bytes,
        hash_name: str,
        scheme: str,
        auth: Auth = NO_AUTH,
    ) -> bytes:
        """Sign a digest.

        Args:
            hash_name: ``sha256``, ``sha384`` or ``sha512``; what the digest was made with.
            scheme: ``ecdsa``, ``rsassa`` (PKCS#1 v1.5) or ``rsapss``.

        Returns:
            the signature; ECDSA's as DER (RFC 3279, section 2.2.3).

        Raises:
            ConsoleError: the TPM cannot be reached or refuses.
        """
        signature: bytes = self._ask(
            "sign",
            "sign",
            "signing",
            key=_access(key, auth),
            digest=digest,
            hash_name=hash_name,
            scheme=scheme,
        )
        return signature

    def attempt_cost(self, needs: str, key: KeyRef | None = None) -> AttemptCost:
        """What a wrong password would cost; spends no try.

        Args:
            needs: whose password, as in ``ConsoleError``.
            key: the key that is to be used, for ``key`` and ``parent``.

        Raises:
            ConsoleError: the TPM cannot be reached.
        """
        from tpmconsole.tpm.attempt_cost import counts

        counted = counts(needs, key, self.persistent_keys)
        return AttemptCost(needs, counted, None if needs == "source" else self.health().lockout)

    def close(self) -> None:
        """End the worker; a running call fails within a second, later ones at once."""
        self._dispatcher.close()

    def _ask(self, job: str, kind: str, label: str, **arguments: Any) -> Any:
        return self._dispatcher.call(job, label, self._deadlines[kind], arguments)

    def _change(self, job: str, label: str, arguments: Mapping[str, Any]) -> None:
        self._dispatcher.call(job, label, self._deadlines["sign"], arguments, repeatable=False)


def _access(key: KeyRef, auth: Auth) -> dict[str, Any]:
    return {"source": asdict(key), "auth": auth.to_wire()}


def _public_of_file(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from tpmconsole.tpm import keyfile

    key = keyfile.parse(pem).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
