"""The TPM for the rest of the console: typed methods, carried out by the worker process.

This module imports only the standard library at first: the console's first paint waits for it.
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
    Endorsement,
    EndorsementCertificate,
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

# Seconds a job may take, by its kind. Chips are slow: some need minutes for an RSA key.
DEADLINES: Mapping[str, float] = {"read": 5, "sign": 15, "ec": 60, "self-test": 120, "rsa": 180}


class Tpm:
    """The only access to the TPM; any thread may call any method, jobs run one at a time.

    Args:
        connect: chooses the TPM, and starts the simulator if requested; called again after the
            connection was lost.
        log: the log file; the worker's standard error goes there.
        deadlines: seconds by kind of job, to override ``DEADLINES``.
        learned: as in ``Dispatcher``.
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
        """The process that runs the jobs; None while no process runs."""
        return self._dispatcher.worker_pid

    @property
    def activity(self) -> Activity | None:
        """The running job; None when idle."""
        return self._dispatcher.activity

    def start(self) -> None:
        """Connect and open the TPM in the background, so that the first job is quick."""
        threading.Thread(target=self._warm_up, name="tpm-start", daemon=True).start()

    def _warm_up(self) -> None:
        try:
            self._ask("ping", "read", "opening the TPM")
        except ConsoleError as error:  # the first job will report it
            LOG.info("%s", error)

    def health(self, *, brief: bool = False) -> TpmHealth:
        """Read the TPM's state; in failure mode, as much of it as the TPM reports.

        Args:
            brief: for polling: omit the PCRs, and send a quarter of the commands.

        Raises:
            ConsoleError: the TPM cannot be reached or does not answer.
        """
        answer = self._ask("health", "read", "reading the TPM's state", brief=brief)
        return self._with_connection(protocol.health(answer))

    def _with_connection(self, health: TpmHealth) -> TpmHealth:
        """The TPM's state with its connection filled in."""
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
        """Let the TPM test itself and read the result that it reports.

        Args:
            full: test everything; otherwise only what has not been tested yet.

        Returns:
            the result, and the TPM's state after the test as from ``health(brief=True)``.

        Raises:
            ConsoleError: the TPM cannot be reached or does not answer; a failed test is a
                result, not an error.
        """
        label = f"running the {'full' if full else 'incremental'} self-test"
        answer = self._ask("self_test", "self-test", label, full=full)
        health = self._with_connection(protocol.health(answer["health"]))
        return protocol.self_test(answer["self_test"]), health

    def persistent_keys(self) -> tuple[PersistentKey, ...]:
        """List the keys kept inside the TPM.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses.
        """
        keys = self._ask("persistent_keys", "sign", "listing persistent keys")
        return tuple(protocol.persistent_key(key) for key in keys)

    def room(self) -> Room:
        """Read the room for persistent keys: the part of ``health`` that a slow chip gives fast.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses.
        """
        return Room(**self._ask("room", "read", "asking for room"))

    def check_key(self, key: KeyRef, auth: Auth = NO_AUTH) -> KeyCheck:
        """Check a key: load it, sign a nonce, verify the signature in software.

        Raises:
            ConsoleError: the TPM cannot be reached; an unusable key is a result, not an error.
        """
        answer = self._ask("usable", "sign", "checking a key", key=_access(key, auth))
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
            auth: the new key's password, and the owner hierarchy's if it has one.
            noda: wrong passwords do not count towards the lock-out.

        Returns:
            a TSS2 key file, PEM.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses; no key was made.
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
        """Wrap a key that was made elsewhere for this TPM, and check that the TPM can use it.

        Args:
            pkcs8: the private key, DER, unencrypted; it is sent to the TPM encrypted.
            algorithm: its kind.
            auth, noda: as in ``create``.

        Returns:
            a TSS2 key file, PEM.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses; no key file was made.
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
            self._dispatcher.renew()  # its memory has copies of the key that cannot be wiped
        return pem

    def persist(self, pem: bytes, handle: int, auth: Auth = NO_AUTH) -> None:
        """Copy a key file's key to a persistent handle, without replacing an existing key.

        Raises:
            ConsoleError: the handle is not valid or in use, the TPM is full or refuses; nothing
                was changed.
        """
        arguments = {"pem": pem, "handle": handle, "auth": auth.to_wire()}
        self._ask("persist", "sign", f"persisting a key at 0x{handle:08x}", **arguments)

    def evict(self, handle: int, auth: Auth = NO_AUTH) -> None:
        """Remove a key from a persistent handle permanently.

        Raises:
            ConsoleError: there is no key at the handle, or the TPM refuses.
        """
        arguments = {"handle": handle, "auth": auth.to_wire()}
        self._change("evict", f"evicting 0x{handle:08x}", arguments)

    def reset_lockout(self, password: Password | None = None) -> None:
        """Forget all wrong passwords, so that protected keys can be used again.

        TPM2_DictionaryAttackLockReset (Part 3, 25.2).

        Args:
            password: the lockout authorisation, if set. After a wrong one the TPM refuses even
                the right one for ``Lockout.recovery_s``.

        Raises:
            ConsoleError: it is needed and was not given (nothing was sent), or the TPM refuses.
        """
        self._change("reset_lockout", "resetting the lock-out", {"password": secret(password)})

    def public_pem(self, key: KeyRef) -> bytes:
        """The public key, SubjectPublicKeyInfo PEM; a key file's is read without the TPM.

        Raises:
            ConsoleError: there is no such key, or its file is damaged.
        """
        if key.pem is not None:
            from tpmconsole.tpm import keyfile

            return keyfile.parse(key.pem).public_pem()
        pem: bytes = self._ask("public_pem", "read", "reading a public key", handle=key.handle)
        return pem

    def read_public(self, key: KeyRef, auth: Auth = NO_AUTH) -> PublicArea:
        """Read a key's public area from the TPM; a key file's key is loaded to do so.

        Args:
            auth: the parent's or the hierarchy's; the key's own is not used.

        Raises:
            ConsoleError: there is no such key, the TPM refuses it, or its kind is unknown here.
        """
        from tpmconsole.tpm.keyfile import public_area

        kind = "read" if key.pem is None else "sign"
        answer = self._ask("read_public", kind, "reading a public key", key=_access(key, auth))
        return public_area.named(answer["area"], answer["name"])

    def find_parents(self, pems: Sequence[bytes], auth: Auth = NO_AUTH) -> list[Parent | None]:
        """Find the parents of key files without using up an attempt.

        It only loads keys, and only below parents whose wrong passwords do not count. It may take
        a minute: some primary keys are RSA keys.

        Args:
            pems: the key files' content.
            auth: the owner hierarchy's.

        Returns:
            the parent of each; ``AS_SAID`` if its file names the right one, None if it is not
            one of ``USUAL``.

        Raises:
            ConsoleError: the TPM cannot be reached, or a file is damaged.
        """
        from tpmconsole.tpm import keyfile
        from tpmconsole.tpm.primaries import AS_SAID, USUAL, at_handle

        found: dict[int, Parent] = {}

        def ask(job: str, kind: str, label: str, **arguments: Any) -> list[tuple[int, int]]:
            """Run a job for the keys not found yet; their numbers with each true answer."""
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
            hash_name: the hash that made the digest: ``sha256``, ``sha384`` or ``sha512``.
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

    def endorsement(self, auth: Auth = NO_AUTH, *, prove: bool) -> Endorsement:
        """The certificates that the TPM's maker left in it.

        Args:
            auth: the endorsement hierarchy's, where it has a password.
            prove: make each endorsement key, and see whether it is the certificate's; that takes
                long on a slow chip. Otherwise they are only read.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses.
        """
        answer = self._ask(
            "endorsement",
            "rsa" if prove else "read",
            "making the endorsement key" if prove else "reading the maker's certificates",
            auth=auth.to_wire(),
            prove=prove,
        )
        found = tuple(EndorsementCertificate(**one) for one in answer["certificates"])
        return Endorsement(found, tuple(answer["chain"]))

    def activate(
        self, key: KeyRef, index: int, credential: bytes, secret: bytes, auth: Auth = NO_AUTH
    ) -> bytes:
        """Open what was sealed for a key and this TPM (TPM2_ActivateCredential).

        Args:
            key: the key itself, whose Name it was sealed for.
            index: the NV index of the certificate of the endorsement key that it was sealed for.
            credential: TPM2B_ID_OBJECT.
            secret: TPM2B_ENCRYPTED_SECRET.
            auth: the key's, its parent's, and the endorsement hierarchy's.

        Raises:
            ConsoleError: it was sealed for another key or TPM, or the TPM refuses.
        """
        opened: bytes = self._ask(
            "activate",
            "rsa",
            "opening what was sealed for this TPM",
            key=_access(key, auth),
            index=index,
            credential=credential,
            secret=secret,
        )
        return opened

    def attempt_cost(self, needs: str, key: KeyRef | None = None) -> AttemptCost:
        """What a wrong password would cost, found without using up an attempt.

        Args:
            needs: which password, as in ``ConsoleError``.
            key: the key to use, for ``key`` and ``parent``.

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
