"""What the chip and its key files tell us, as plain immutable data.

Nothing here needs a TPM or imports the TSS. Every class has ``to_json``; its field names are those
of the command line's ``--json`` answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Algorithm(StrEnum):
    """The kinds of key that ``create`` makes."""

    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"

    @property
    def words(self) -> str:
        """As the field writes it: ``EC P-256``, ``RSA 2048``."""
        kind, size = self.value.upper().replace("P", "P-").split("-", 1)
        return f"{kind} {size}"

    @property
    def slow(self) -> bool:
        """Whether a chip may need minutes to make such a key."""
        return self in (Algorithm.RSA_2048, Algorithm.RSA_3072)


def algorithm_words(name: str) -> str:
    """An identity's algorithm for people; one that we do not make stays as it is."""
    return Algorithm(name).words if name in set(Algorithm) else name


@dataclass(frozen=True, slots=True)
class Connection:
    """Which TPM, and why this one.

    Attributes:
        tcti: what the TSS is given.
        why: what made us choose it, in words ("--tcti", "/dev/tpmrm0 is there").
        simulated: whether the TCTI alone says that it is no real chip.
        environment: what a process that opens it needs besides, such as the private bus's address.
        storage_name: the Name of its storage key where that is known, hexadecimal.
    """

    tcti: str
    why: str
    simulated: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    storage_name: str = field(default="", compare=False)


class SelfTestResult(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not-run"
    UNKNOWN = "unknown"  # the TPM does not tell


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The TPM's own word about its self-test.

    Attributes:
        kind: ``full`` or ``incremental`` where we ran it; ``power-on`` where the TPM did by itself.
        code: the response code that TPM2_GetTestResult answers; 0 is passed.
        data: the manufacturer's test result bytes in hex, empty where there are none.
        untested: algorithms that an incremental test has left to be tested.
        time: when we ran it, ISO 8601 UTC.
    """

    result: SelfTestResult
    kind: str = "power-on"
    code: int = 0
    time: str | None = None
    data: str = ""
    untested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lockout:
    """Dictionary-attack protection.

    Attributes:
        locked: passwords of protected keys are refused, right ones too.
        failed_tries: tries that count now: wrong passwords, and each time that the power was lost
            after a key that counts had been used (Part 1, 19.8.5).
        max_tries: so many lead to the lock-out; 0 allows none.
        interval_s: seconds until one failed try is forgiven; 0 switches the protection off.
        recovery_s: seconds after a wrong lockout authorisation until it may be tried again.
    """

    locked: bool
    failed_tries: int
    max_tries: int
    interval_s: int
    recovery_s: int

    @property
    def off(self) -> bool:
        """Whether no wrong password is counted (TPM2_DictionaryAttackParameters, Part 3, 25.3)."""
        return self.interval_s == 0 and self.max_tries > 0

    @property
    def tries_left(self) -> int:
        return 0 if self.locked else max(0, self.max_tries - self.failed_tries)

    @property
    def last_try(self) -> bool:
        """Whether the next wrong password locks the TPM."""
        return self.tries_left == 1 and not self.off


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One hierarchy.

    Attributes:
        auth_set: whether it has a password; None where the TPM does not tell (platform).
    """

    auth_set: bool | None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Room:
    used: int
    available: int


@dataclass(frozen=True, slots=True)
class Clock:
    """TPM2_ReadClock: milliseconds powered, and how often it was reset or restarted."""

    clock_ms: int
    time_ms: int
    reset_count: int
    restart_count: int
    safe: bool


@dataclass(frozen=True, slots=True)
class TpmHealth:
    """Everything the Overview and ``status`` show; a TPM in failure mode fills what it can.

    Attributes:
        mode: ``operational`` or ``failure`` (the TPM answers 0x101 to nearly everything).
        simulated: the connection or the chip itself says that it is a simulator; never of a
            device of the kernel's, which is the board's own.
        hierarchies: by name: owner, endorsement, lockout, platform.
        pcrs: bank to index to digest in hex.
        persistent_handles: those in use, as ``0x81000001``; None where the TPM did not tell.
        encrypted_sessions: whether it has what passwords are hidden with on their way to it; None
            where it did not tell.
    """

    tcti: str
    tcti_why: str
    simulated: bool
    mode: str
    manufacturer: str
    manufacturer_name: str
    vendor: str
    firmware: str
    family: str
    revision: str
    self_test: SelfTest
    lockout: Lockout | None
    hierarchies: Mapping[str, Hierarchy]
    persistent: Room | None
    transient: Room | None
    algorithms: tuple[str, ...]
    curves: tuple[str, ...]
    pcrs: Mapping[str, Mapping[int, str]]
    clock: Clock | None
    persistent_handles: tuple[str, ...] | None = None
    encrypted_sessions: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """The answer of ``status --json`` (contract)."""
        data = asdict(self)
        data["specification"] = {"family": data.pop("family"), "revision": data.pop("revision")}
        return data


class KeyKind(StrEnum):
    """What a file in a key folder turned out to be."""

    LOADABLE = "loadable"
    IMPORTABLE = "importable"
    SEALED = "sealed"
    NOT_TSS2 = "not-tss2"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A key to use: a TSS2 key file's content or a persistent handle; exactly one of the two."""

    pem: bytes | None = None
    handle: int | None = None

    def __post_init__(self) -> None:
        if (self.pem is None) == (self.handle is None):
            raise ValueError("a key source is either a file's content or a handle")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One file of a key folder, read without a TPM.

    Attributes:
        parent: handle of the parent key, as ``0x40000001`` (the owner hierarchy's primary key).
        auth: ``none``, ``password`` or ``policy``; None where the file does not tell.
        identity: the identity it belongs to, where it does.
        usable: whether this TPM can use it; None until somebody asked.
        reason: why not usable, or why the file could not be read.
        attributes: TPMA_OBJECT in words.
        counts_towards_lockout: a wrong password spends one of the TPM's tries.
        public_pem: the public key, SubjectPublicKeyInfo PEM.
        mode: the file's permissions, as ``0600``.
        policy: what its policy asks for, in words.
        remarks: what is odd in the file though it can be read.
        origin: ``tpm`` where the key was made in one, ``imported`` where it existed outside; the
            TPM that took it in vouches for that.
    """

    path: str
    kind: KeyKind
    algorithm: str | None = None
    parent: str | None = None
    auth: str | None = None
    description: str | None = None
    identity: str | None = None
    usable: bool | None = None
    reason: str | None = None
    attributes: tuple[str, ...] = ()
    counts_towards_lockout: bool | None = None
    public_pem: str | None = None
    mode: str | None = None
    policy: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    origin: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PersistentKey:
    """A key kept inside the TPM.

    Attributes:
        handle: ``0x81000001``. One that cannot be read has this and ``reason`` alone.
        name: the TPM's Name of the object, hex.
        purpose: what it is for, in words: storage root key, endorsement key, signing key …
        auth: ``none``, ``password``, ``policy`` or None where the TPM does not tell.
        usable, reason, origin: as in ``KeyFile``.
    """

    handle: str
    algorithm: str | None = None
    attributes: tuple[str, ...] = ()
    name: str | None = None
    purpose: str = "cannot be read"
    auth: str | None = None
    identity: str | None = None
    public_pem: str | None = None
    counts_towards_lockout: bool | None = None
    usable: bool | None = None
    reason: str | None = None
    origin: str | None = None

    @property
    def readable(self) -> bool:
        """Whether it is known what it is."""
        return self.algorithm is not None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """Whether this TPM can use a key: the answer of one signature made and verified.

    Attributes:
        answer: one of ``yes``, ``not-this-tpm`` (or damaged: the TPM cannot tell them apart),
            ``parent-missing``, ``needs-password``, ``wrong-password``, ``last-try`` (not sent: a
            wrong password would lock the TPM), ``locked-out``, ``policy``, ``unsupported``,
            ``no-room``, ``cannot-sign``, ``other-parent`` (this TPM made it, below another parent
            than its file says).
        reason: the same in a sentence, with the remedy where there is one.
        needs: whose password would help, as in ``ConsoleError``.
    """

    answer: str
    reason: str
    needs: str | None = None

    @property
    def usable(self) -> bool:
        return self.answer == "yes"


@dataclass(frozen=True, slots=True)
class SoftwareKey:
    """A private key that exists outside any TPM.

    Attributes:
        path: the file, absolute.
        pkcs8: the key, DER without encryption.
    """

    path: Path
    algorithm: Algorithm
    pkcs8: bytes = field(repr=False)
