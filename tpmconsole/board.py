"""One board: its TPM, its identities and its sessions, joined into one method per command.

The rooms below know nothing of each other: ``identity`` gets a private-key object, ``session`` a
folder and a key, ``tpm`` neither. Commands and screens both call this class, and so do the same.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tpmconsole import audit
from tpmconsole.errors import ConsoleError, ExitCode, usage_error
from tpmconsole.files import PRIVATE_FILE, make_private_folder, read_bounded, write_atomic
from tpmconsole.settings import Settings
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import (
    Algorithm,
    Connection,
    KeyFile,
    KeyKind,
    KeySource,
    PersistentKey,
    SelfTest,
    SelfTestResult,
    TpmHealth,
    Usability,
)

if TYPE_CHECKING:  # cryptography and psutil load when first used: the first paint is waiting
    from cryptography import x509

    from tpmconsole.identity.certificate import Judgement
    from tpmconsole.identity.request import RequestSpec
    from tpmconsole.identity.store import Identity, IdentityStore
    from tpmconsole.identity.summary import Summary
    from tpmconsole.session.model import SessionFacts, SessionSpec
    from tpmconsole.session.supervisor import Supervisor
    from tpmconsole.tpm.simulator import Simulator

CERTIFICATE_BYTES = 1024 * 1024
KEY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class KeyList:
    """Key files and persistent handles; ``no_tpm`` says why the handles could not be asked for."""

    files: tuple[KeyFile, ...]
    persistent: tuple[PersistentKey, ...]
    no_tpm: ConsoleError | None = None

    def to_json(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "files": [key.to_json() for key in self.files],
            "persistent": [key.to_json() for key in self.persistent],
        }
        if self.no_tpm:
            answer["no_tpm"] = self.no_tpm.to_json()
        return answer


class Board:
    """What the commands and the screens work on.

    Args:
        settings: this run's settings; the state directory is made when something is first kept.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tpm = Tpm(self._connect, settings.log)
        self._lease: IO[bytes] | None = None

    @cached_property
    def identities(self) -> IdentityStore:
        from tpmconsole.identity.store import IdentityStore

        return IdentityStore(self.settings.identities)

    @cached_property
    def sessions(self) -> Supervisor:
        from tpmconsole.session.supervisor import Supervisor

        return Supervisor(self.settings.sessions, self.settings.log)

    @cached_property
    def simulator(self) -> Simulator:
        from tpmconsole.tpm.simulator import Simulator

        return Simulator(self.settings.simulator)

    # The TPM

    def _connect(self) -> Connection:
        from tpmconsole.tpm.connection import choose

        connection = choose(self.settings)
        if self.settings.simulate and self._lease is None:
            self._lease = self._take_lease()
        return connection

    def _take_lease(self) -> IO[bytes]:
        """A shared lock that says: a process is using this simulator."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.settings.simulator / "users.lock", flags, PRIVATE_FILE)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return os.fdopen(descriptor, "wb")

    def use_simulator(self) -> None:
        """From now on the simulated TPM, whatever was asked for before."""
        self.settings = replace(self.settings, simulate=True)

    def close(self, *, leave: bool = False) -> None:
        """End the TPM worker.

        Args:
            leave: also stop the simulator where no session and no other process needs it.
        """
        self.tpm.close()
        if self._lease is None:
            return
        lease, self._lease = self._lease, None
        with lease:
            if not leave or self.sessions.any_running():
                return
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # another console or command is using it
                return
            self.simulator.stop()

    def status(self) -> TpmHealth:
        """Ask the TPM how it is.

        Raises:
            ConsoleError: no TPM could be reached.
        """
        health = self.tpm.health()
        return replace(health, self_test=self._remembered(health))

    def self_test(self, *, full: bool) -> SelfTest:
        """Let the TPM test itself, and keep when and how for the next ``status``.

        Raises:
            ConsoleError: no TPM could be reached.
        """
        result = self.tpm.self_test(full=full)
        clock = self.tpm.health().clock
        if clock is not None:
            note = asdict(result) | {"reset_count": clock.reset_count}
            make_private_folder(self.settings.state)
            write_atomic(self._self_test_file, json.dumps(note).encode())
        return result

    @property
    def _self_test_file(self) -> Path:
        return self.settings.state / "selftest.json"

    def _remembered(self, health: TpmHealth) -> SelfTest:
        """The TPM's own word now, with our last test's kind and time where it still holds.

        The TPM forgets its tests at a reset; a reset count that differs says that there was one.
        """
        now = health.self_test
        try:
            note = json.loads(self._self_test_file.read_bytes())
        except (OSError, ValueError):
            return now
        same_run = health.clock is not None and note.get("reset_count") == health.clock.reset_count
        if not same_run or note.get("result") != now.result or now.result is SelfTestResult.NOT_RUN:
            return now
        return replace(now, kind=note["kind"], time=note["time"])

    # Keys

    def keys(self, paths: Sequence[Path] = (), *, prove: bool = False) -> KeyList:
        """Key files below ``paths`` (else of the identities) and the TPM's persistent handles.

        Args:
            paths: files and folders.
            prove: let the TPM sign with each file's key; reading alone never loads one.
        """
        files = tuple(self.key_files(paths))
        if prove:
            files = tuple(map(self._proved, files))
        try:
            persistent = self.persistent_keys()
        except ConsoleError as error:
            return KeyList(files, (), error)
        return KeyList(files, persistent)

    def key_files(self, paths: Sequence[Path] = ()) -> Iterable[KeyFile]:
        """Read key files one after the other, without a TPM."""
        from tpmconsole.tpm.keyscan import scan

        owners = {
            str(identity.folder / "key.pem"): identity.name
            for identity in self.identities.all()
            if identity.handle is None
        }
        for key in scan(paths) if paths else scan([self.settings.identities], depth=1):
            yield replace(key, identity=owners.get(key.path))

    def _proved(self, key: KeyFile) -> KeyFile:
        if key.kind is not KeyKind.LOADABLE:
            return key
        answer = self.usable(KeySource(pem=read_bounded(Path(key.path), KEY_BYTES)))
        usable = None if answer.answer == "needs-password" else answer.usable
        return replace(key, usable=usable, reason=answer.reason)

    def persistent_keys(self) -> tuple[PersistentKey, ...]:
        """The keys kept inside the TPM, each with the identity that lives on it."""
        owners = {
            f"0x{identity.handle:08x}": identity.name
            for identity in self.identities.all()
            if identity.handle is not None
        }
        return tuple(
            replace(key, identity=owners.get(key.handle)) for key in self.tpm.persistent_keys()
        )

    def usable(self, source: KeySource, password: bytes | None = None) -> Usability:
        """Sign a nonce with the key and verify it."""
        return self.tpm.usable(source, password)

    def create(
        self,
        name: str,
        algorithm: Algorithm,
        password: bytes | None = None,
        handle: int | None = None,
    ) -> Identity:
        """Make a key in the TPM, as a new identity.

        Raises:
            ConsoleError: the name is taken or no good, or the TPM refused; nothing was made.
        """
        self.identities.reserve(name)
        pem = self.tpm.create(algorithm, password)
        if handle is not None:
            self.tpm.persist(pem, handle)
        try:
            identity = self.identities.create(
                name,
                key_pem=pem if handle is None else None,
                handle=handle,
                algorithm=algorithm.value,
                auth="password" if password else "none",
            )
        except ConsoleError:
            if handle is not None:
                self.tpm.evict(handle)
            raise
        where = None if handle is None else f"0x{handle:08x}"
        self._record("create", identity=name, algorithm=algorithm.value, handle=where)
        return identity

    def persist(self, name: str, handle: int) -> Identity:
        """Move an identity's key from its file to a persistent handle.

        Raises:
            ConsoleError: the handle is in use or no good, the TPM is full, or the key is no file.
        """
        identity = self.identities.get(name)
        pem = identity.key_pem
        if pem is None:
            raise ConsoleError(
                "Not moved",
                f"the key of '{name}' is already at 0x{identity.handle:08x}",
                "evict it there first, or make a new identity",
            )
        self.tpm.persist(pem, handle)
        moved = self.identities.move_to_handle(name, handle)
        self._record("persist", identity=name, handle=f"0x{handle:08x}")
        return moved

    def evict(self, handle: int) -> None:
        """Remove a persistent key from the TPM, for good.

        Raises:
            ConsoleError: there is none, or the TPM refused.
        """
        self.tpm.evict(handle)
        self._record("evict", handle=f"0x{handle:08x}")

    def summaries(self) -> list[Summary]:
        """Every identity on a line."""
        from tpmconsole.identity.summary import summarise

        now = datetime.now(UTC)
        return [summarise(identity, now) for identity in self.identities.all()]

    # Request and certificate

    def request(self, name: str, spec: RequestSpec, password: bytes | None = None) -> bytes:
        """Make the certificate signing request, signed in the TPM; returns its PEM.

        Raises:
            ConsoleError: the subject or a name does not parse, or the TPM refused.
        """
        from cryptography.hazmat.primitives.serialization import Encoding

        from tpmconsole.identity.request import build

        identity = self.identities.get(name)
        key = self.tpm.private_key(self.source(identity), password)
        pem = build(key, spec).public_bytes(Encoding.PEM)
        self.identities.save_request(name, pem, spec.role)
        self._record("request", identity=name, subject=spec.subject)
        return pem

    def judge(
        self, name: str, bundles: Sequence[bytes], trust: bytes | None, role: str | None
    ) -> Judgement:
        """Check a certificate, with its chain, for an identity; installs nothing."""
        from tpmconsole.identity.certificate import judge, read_bundle

        identity = self.identities.get(name)
        certificates = [one for data in bundles for one in read_bundle(data)]
        installed = (
            read_bundle(read_bounded(identity.certificate, CERTIFICATE_BYTES))
            if (identity.has_certificate)
            else None
        )
        return judge(
            certificates,
            public_key=self._public_key(identity),
            trust=self._anchors(identity, trust),
            role=role or identity.role or "client",
            now=datetime.now(UTC),
            request=self._requested(identity) if identity.has_request else None,
            previous=installed[0] if installed else None,
        )

    def install(self, name: str, judgement: Judgement, trust: bytes | None) -> None:
        """Install a certificate whose verdicts are good.

        Raises:
            ConsoleError: a verdict is fail; nothing was changed.
        """
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import Encoding

        identity = self.identities.get(name)
        if not judgement.acceptable or judgement.leaf is None:
            failed = [one for one in judgement.verdicts if one.verdict == "fail"]
            raise ConsoleError("Certificate refused", failed[0].text, failed[0].remedy)
        chain = b"".join(one.public_bytes(Encoding.PEM) for one in judgement.chain)
        anchors = None
        if trust is not None:
            anchors = b"".join(
                one.public_bytes(Encoding.PEM) for one in self._anchors(identity, trust)
            )
        self.identities.install(name, chain, anchors)
        fingerprint = judgement.leaf.fingerprint(hashes.SHA256()).hex()
        self._record("import", identity=name, certificate=fingerprint)

    def demo_sign(self, name: str) -> Judgement:
        """Let the simulator's throw-away CA sign the request, and import what it gives.

        Raises:
            ConsoleError: this TPM is no simulator, or there is no request yet.
        """
        from tpmconsole.identity.demo_ca import DemoCa

        identity = self.identities.get(name)
        self._need_simulator()
        if not identity.has_request:
            raise ConsoleError(
                "No request", f"'{name}' has no request to sign", f"run: tpmconsole request {name}"
            )
        ca = DemoCa(self.settings.simulator / "demo-ca")
        chain, trust = ca.sign(self._requested(identity))
        judgement = self.judge(name, [chain], trust, None)
        self.install(name, judgement, trust)
        return judgement

    def _need_simulator(self) -> None:
        if not self.status().simulated:
            raise ConsoleError(
                "Not on a real TPM",
                "the demo CA signs for the simulated TPM only",
                "hand the request to your own CA, or add --simulate",
                ExitCode.REFUSED,
            )

    def _requested(self, identity: Identity) -> x509.CertificateSigningRequest:
        from cryptography import x509

        data = read_bounded(identity.request, CERTIFICATE_BYTES)
        try:
            return x509.load_pem_x509_csr(data)
        except ValueError as error:
            raise ConsoleError(
                "Request damaged",
                f"{identity.request} is no request any more",
                f"make it again: tpmconsole request {identity.name}",
            ) from error

    def _anchors(self, identity: Identity, trust: bytes | None) -> list[x509.Certificate]:
        from tpmconsole.identity.certificate import read_bundle

        if trust is not None:
            return read_bundle(trust)
        return self.identities.trust_certificates(identity.name)

    def _public_key(self, identity: Identity) -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        return load_pem_public_key(self.tpm.public_pem(self.source(identity)))

    # Sessions

    def start_session(self, spec: SessionSpec, password: bytes | None = None) -> SessionFacts:
        """Start a mutual-TLS client or server that outlives us.

        Raises:
            ConsoleError: the identity has no certificate yet, or the session could not start.
        """
        from tpmconsole.session.model import Credentials

        identity = self.identities.get(spec.identity)
        for there, what in (
            (identity.has_certificate, "certificate"),
            (identity.has_trust, "trust anchors for its peer"),
        ):
            if not there:
                raise ConsoleError(
                    "Identity not ready",
                    f"'{identity.name}' has no {what} yet",
                    f"run: tpmconsole import {identity.name} FILE --trust FILE",
                )
        credentials = Credentials(
            identity=identity.name,
            key=self.source(identity),
            certificate=identity.certificate,
            trust=identity.trust,
        )
        facts = self.sessions.start(spec, credentials, self._connect(), password)
        self._record("session start", identity=identity.name, session=facts.id, role=spec.role)
        return facts

    def stop_session(self, session: str) -> SessionFacts:
        """End a session.

        Raises:
            ConsoleError: there is none of that name.
        """
        facts = self.sessions.stop(session)
        self._record("session stop", session=session)
        return facts

    def source(self, identity: Identity) -> KeySource:
        """Where an identity's key is."""
        if identity.handle is not None:
            return KeySource(handle=identity.handle)
        return KeySource(pem=identity.key_pem)

    def _record(self, action: str, **facts: str | None) -> None:
        audit.record(self.settings.audit, action, **facts)


def parse_handle(text: str) -> int:
    """A persistent handle as people write it.

    Raises:
        ConsoleError: it is no number, or outside 0x81000000 to 0x81ffffff (TPM 2.0 Part 2, 7.4).
    """
    try:
        handle = int(text, 16)
    except ValueError:
        handle = -1
    if not 0x81000000 <= handle <= 0x81FFFFFF:
        raise usage_error(
            "Not a persistent handle",
            f"'{text}' is none",
            "use one from 0x81000000 to 0x817fffff, such as 0x81000010",
        )
    return handle


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 host in brackets; a server may ask for port 0, any that is free.

    Raises:
        ConsoleError: it is none.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise usage_error(
            "Not an address", f"'{text}' is no HOST:PORT", "write it as gateway.local:8443"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)
