"""The data read from the chip and its key files, as plain immutable values.

Nothing here needs a TPM or imports the TSS. ``to_json`` returns the fields of the command line's
``--json`` answers.
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
        """The usual notation: ``EC P-256``, ``RSA 2048``."""
        kind, size = self.value.upper().replace("P", "P-").split("-", 1)
        return f"{kind} {size}"

    @property
    def slow(self) -> bool:
        """Whether a chip may need minutes to make such a key."""
        return self in (Algorithm.RSA_2048, Algorithm.RSA_3072)


def algorithm_words(name: str) -> str:
    """An identity's algorithm for people; one that we do not create is returned unchanged."""
    return Algorithm(name).words if name in set(Algorithm) else name


@dataclass(frozen=True, slots=True)
class Connection:
    """Which TPM is used, and why.

    Attributes:
        tcti: the TCTI for the TSS.
        why: the reason for choosing it, for people ("--tcti", "/dev/tpmrm0 is there").
        simulated: whether the TCTI alone shows that it is not a real chip.
        environment: variables that a process needs to open it, such as the private bus's address.
        storage_name: the Name of its storage key, hexadecimal; empty if unknown.
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
    UNKNOWN = "unknown"  # the TPM does not say


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The self-test result as the TPM reports it.

    Attributes:
        kind: ``full`` or ``incremental`` if we ran it; ``power-on`` for the TPM's own test.
        code: the response code that TPM2_GetTestResult returns; 0 means passed.
        data: the manufacturer's test result in hex; may be empty.
        untested: algorithms that an incremental test has not tested yet.
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
        locked: whether the TPM refuses all passwords of protected keys, even right ones.
        failed_tries: attempts that count now: wrong passwords, and each loss of power after a
            protected key was used (Part 1, 19.8.5).
        max_tries: the number of attempts that leads to the lock-out; 0 allows no attempt.
        interval_s: seconds until one attempt is forgiven; 0 switches the protection off.
        recovery_s: seconds to wait after a wrong lockout authorisation.
    """

    locked: bool
    failed_tries: int
    max_tries: int
    interval_s: int
    recovery_s: int

    @property
    def off(self) -> bool:
        """Whether wrong passwords do not count (TPM2_DictionaryAttackParameters, Part 3, 25.3)."""
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
        auth_set: whether it has a password; None if the TPM does not say (platform).
    """

    auth_set: bool | None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Room:
    used: int
    available: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The result of TPM2_ReadClock: milliseconds powered, and counts of resets and restarts."""

    clock_ms: int
    time_ms: int
    reset_count: int
    restart_count: int
    safe: bool


@dataclass(frozen=True, slots=True)
class TpmHealth:
    """Everything that the Overview and ``status`` show; in failure mode, as far as available.

    Attributes:
        mode: ``operational`` or ``failure`` (the TPM answers 0x101 to nearly everything).
        simulated: whether the connection or the chip says that it is a simulator; always False
            for a kernel device, even on an emulated board.
        hierarchies: by name: owner, endorsement, lockout, platform.
        pcrs: bank to index to digest in hex.
        persistent_handles: those in use, as ``0x81000001``; None if the TPM did not list them.
        encrypted_sessions: whether it has the algorithms that encrypt passwords sent to it; None
            if unknown.
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
    """The kind of a file in a key folder."""

    LOADABLE = "loadable"
    IMPORTABLE = "importable"
    SEALED = "sealed"
    NOT_TSS2 = "not-tss2"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A key to use: either the content of a TSS2 key file or a persistent handle."""

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
        auth: ``none``, ``password`` or ``policy``; None if the file does not say.
        identity: the identity that the key belongs to, if any.
        usable: whether this TPM can use it; None until it was checked.
        reason: why it is not usable, or why the file could not be read.
        attributes: TPMA_OBJECT as text.
        counts_towards_lockout: whether a wrong password uses up one of the TPM's attempts.
        public_pem: the public key, SubjectPublicKeyInfo PEM.
        mode: the file's permissions, as ``0600``.
        policy: what its policy requires, as text.
        remarks: oddities in a file that can be read.
        origin: ``tpm`` if the key was made in a TPM, ``imported`` if it existed outside; the TPM
            that accepted it vouches for that.
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
        handle: ``0x81000001``. A key that cannot be read has only this and ``reason``.
        name: the TPM's Name of the object, hex.
        purpose: its purpose as text: storage root key, endorsement key, signing key …
        auth: ``none``, ``password``, ``policy`` or None if the TPM does not say.
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
        """Whether its public area could be read."""
        return self.algorithm is not None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """Whether this TPM can use a key, found by making and verifying one signature.

    Attributes:
        answer: one of ``yes``, ``not-this-tpm`` (or damaged: the TPM cannot tell them apart),
            ``parent-missing``, ``needs-password``, ``wrong-password``, ``last-try`` (not sent: a
            wrong password would lock the TPM), ``locked-out``, ``policy``, ``unsupported``,
            ``no-room``, ``cannot-sign``, ``other-parent`` (this TPM made it, but its file names
            a different parent).
        reason: the same in a sentence, followed by the remedy.
        needs: which password would help, as in ``ConsoleError``.
    """

    answer: str
    reason: str
    needs: str | None = None

    @property
    def usable(self) -> bool:
        return self.answer == "yes"


@dataclass(frozen=True, slots=True)
class EndorsementCertificate:
    """A certificate by which a TPM's maker vouches for one of its endorsement keys.

    Attributes:
        index: the NV index that it is kept at.
        der: the certificate.
        problem: why it proves nothing for this TPM, a sentence; empty where it does, or where that
            was not asked.
    """

    index: int
    der: bytes
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Endorsement:
    """What the TPM's maker left in it.

    Attributes:
        certificates: of its endorsement keys; in the order of their indices.
        chain: the maker's CAs, DER; empty where it left none.
    """

    certificates: tuple[EndorsementCertificate, ...]
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SoftwareKey:
    """A private key that exists outside any TPM.

    Attributes:
        path: the file, absolute.
        pkcs8: the key, DER, unencrypted.
    """

    path: Path
    algorithm: Algorithm
    pkcs8: bytes = field(repr=False)
