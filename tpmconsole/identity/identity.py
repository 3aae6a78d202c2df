"""One identity's folder: its name, its files and their content."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep, usage_error
from tpmconsole.identity.attestation import Attestation
from tpmconsole.identity.pin import Pin
from tpmconsole.identity.record import UNKNOWN, Record, parse_record
from tpmconsole.inputs import CERTIFICATE_BYTES
from tpmconsole.secret import Password
from tpmconsole.system.files import read_bounded
from tpmconsole.text import printable

if TYPE_CHECKING:
    from cryptography import x509

Kept = TypeVar("Kept")

NAME_CHARACTERS = 64
ATTESTED_KEY = b"-----BEGIN TPM ATTESTED KEY-----"  # as enrol.files writes it
_SMALL_FILE_BYTES = 64 * 1024
_LONGEST_PLACE = 1000

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_HANDLE = re.compile(r"(0x[0-9a-fA-F]{8})[ \t\r\n]*")


def check_name(name: str) -> str:
    """Check that a name can be an identity's folder, and return it.

    Raises:
        ConsoleError: it is empty, too long, begins with a dot or contains anything other than
            letters, digits, dot, underscore and hyphen.
    """
    remedy = "use letters, digits, '.', '_' and '-', such as gateway-1"
    if not name:
        raise usage_error("Name not usable", "the name is empty", remedy)
    if len(name) > NAME_CHARACTERS:
        cause = f"the name has {len(name)} characters, more than {NAME_CHARACTERS}"
        raise usage_error("Name not usable", cause, remedy)
    if not NAME.fullmatch(name):
        why = "begins with a dot" if name.startswith(".") else "has a character that is not allowed"
        raise usage_error("Name not usable", f"{name!a} {why}", remedy)
    return name


@dataclass(frozen=True, slots=True)
class Handed:
    """How a request was handed over to the CA, as a short text, and when."""

    where: str
    when: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """One identity as it was on the disk when it was read.

    Attributes:
        name: the folder's name.
        algorithm: such as ``ec-p256``; ``unknown`` if identity.toml does not say.
        created: ISO 8601 UTC; empty if unknown.
        role: the role in the last request; None before the first.
        handle: the persistent handle that holds the key; None if the key is a file.
        auth: ``none`` or ``password``: what the key requires.
        problem: what is wrong with the folder; None if it is in order.
        origin: ``tpm``, ``imported`` for a key that existed outside the TPM, or ``adopted``.
        renews: the identity whose certificate its key was made to renew, if any.
        pin: identifies its key; None if it was never recorded.
        handed: when and where the last request was handed over; None until it was.
        closed: we cannot read its folder, so nothing is known about its content.
        attestation: how its key proved to a CA that it is in a TPM; None if it did not.
        attested_certificate: the fingerprint of the certificate that it got for that.
    """

    name: str
    folder: Path
    algorithm: str
    created: str
    role: str | None
    handle: int | None
    auth: str
    problem: str | None = None
    origin: str = "tpm"
    renews: str | None = None
    pin: Pin | None = None
    handed: Handed | None = None
    attestation: Attestation | None = None
    attested_certificate: str | None = None
    closed: bool = False

    def check_given(self, password: Password | None) -> None:
        """Refuse to use the key without the password that it is known to have.

        The TPM does not report whether a key at a handle has a password: an empty one would be
        sent, and cost an attempt.

        Args:
            password: the key's password; an empty one is sent anyway.

        Raises:
            ConsoleError: a password is needed and was not given.
        """
        if self.auth == "password" and password is None:
            raise ConsoleError(
                "Password needed",
                f"the key of '{self.name}' has a password",
                "give the key's password",
                ExitCode.REFUSED,
                needs="key",
            )

    @property
    def key_pem(self) -> bytes | None:
        """The TSS2 key file's content; None if the key is at a handle.

        Raises:
            ConsoleError: the file is missing or cannot be read, or key.handle is damaged.
        """
        if self.handle is not None:
            return None
        if (self.folder / "key.handle").exists():  # it counts, and a key.pem beside it does not
            remedy = NextStep(Action.FORGET, self.name, "restore its backup; else forget it: {}")
            raise ConsoleError("Identity damaged", f"'{self.name}': {self.problem}", remedy)
        return read_bounded(self.folder / "key.pem", _SMALL_FILE_BYTES)

    @property
    def key_lost(self) -> bool:
        """Whether its folder has no key; whether a key is at a handle, only the TPM knows."""
        return not self.closed and self.handle is None and not _is_file(self.folder / "key.pem")

    @property
    def made(self) -> datetime | None:
        """When the key was made, by the board's clock at that time; None if unknown."""
        try:
            return datetime.fromisoformat(self.created).astimezone(UTC)
        except ValueError:
            return None

    @property
    def request(self) -> Path:
        return self.folder / "request.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def trust(self) -> Path:
        return self.folder / "trust.pem"

    @property
    def has_request(self) -> bool:
        return _is_file(self.request)

    @property
    def has_certificate(self) -> bool:
        return _is_file(self.certificate)

    @property
    def has_trust(self) -> bool:
        return _is_file(self.trust)

    @property
    def requested(self) -> datetime | None:
        """When the request was made; None before the first."""
        try:
            return datetime.fromtimestamp(self.request.stat().st_mtime, UTC)
        except OSError:
            return None

    @property
    def renewing(self) -> bool:
        """Whether a request was made after the certificate was imported, and waits for the CA."""
        try:
            return self.request.stat().st_mtime_ns > self.certificate.stat().st_mtime_ns
        except OSError:
            return False

    @property
    def can_undo(self) -> bool:
        """Whether the previous certificate was kept and can be restored."""
        return _is_file(previous(self.certificate))

    @property
    def stage(self) -> Literal["key", "request", "ready"]:
        """How complete it is: only a key, a request as well, or all that a session needs."""
        if self.has_certificate and self.has_trust:
            return "ready"
        return "request" if self.has_request else "key"


def _is_file(path: Path) -> bool:
    """Whether a file exists, as far as we can see."""
    try:
        return path.is_file()
    except OSError:
        return False


def _why_closed(folder: Path) -> str | None:
    """Why we cannot read a folder; None if we can."""
    try:
        (folder / "identity.toml").lstat()
    except PermissionError as error:
        return f"its folder cannot be read: {error.strerror}"
    except OSError:  # reported when it is read
        return None
    return None


def read_identity(folder: Path) -> Identity:
    """Read the folder as far as it is readable; never raises because of its content."""
    closed = _why_closed(folder)
    if closed is not None:
        return Identity(
            name=folder.name,
            folder=folder,
            algorithm=UNKNOWN,
            created="",
            role=None,
            handle=None,
            auth="none",
            problem=closed,
            closed=True,
        )
    record, problem = read_record(folder)
    handle, no_key = _read_handle(folder)
    return Identity(
        name=folder.name,
        folder=folder,
        algorithm=record.algorithm,
        created=record.created,
        role=record.role,
        handle=handle,
        auth=record.auth,
        problem=no_key or problem,
        origin=record.origin,
        renews=record.renews,
        pin=record.pin,
        handed=_handed(record),
        attestation=record.attestation,
        attested_certificate=record.attested_certificate,
    )


def _handed(record: Record) -> Handed | None:
    if record.handed_to is None or record.handed_at is None:
        return None
    try:
        when = datetime.fromisoformat(record.handed_at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return Handed(printable(record.handed_to, _LONGEST_PLACE), when)


def read_record(folder: Path) -> tuple[Record, str | None]:
    """identity.toml as far as it is readable, and what is wrong with it."""
    try:
        data = read_bounded(folder / "identity.toml", _SMALL_FILE_BYTES)
    except ConsoleError as error:
        return Record(folder.name), error.cause
    return parse_record(data, folder.name)


def _read_handle(folder: Path) -> tuple[int | None, str | None]:
    """The handle in key.handle, and what is wrong with the key."""
    path = folder / "key.handle"
    if not path.exists():
        missing = None if (folder / "key.pem").is_file() else "its key is gone: no key.pem"
        return None, missing
    try:
        text = read_bounded(path, 1024).decode("ascii", "replace")
    except ConsoleError as error:
        return None, error.cause
    found = _HANDLE.fullmatch(text)
    if found is None:
        return None, "key.handle has no handle such as 0x81000010"
    return int(found[1], 16), None


def handle_line(handle: int) -> bytes:
    """The content of key.handle."""
    return f"0x{handle:08x}\n".encode()


def previous(path: Path) -> Path:
    """Where the previous version of the file at ``path`` is kept."""
    return path.with_name(path.name + ".previous")


def kept_request(identity: Identity) -> x509.CertificateSigningRequest | None:
    """The last request; None before the first.

    Raises:
        ConsoleError: its file is damaged or cannot be read.
    """
    from cryptography import x509

    if not identity.has_request:
        return None
    try:
        return x509.load_pem_x509_csr(read_bounded(identity.request, _SMALL_FILE_BYTES))
    except ValueError as error:
        raise ConsoleError(
            "Request damaged",
            f"{identity.request} is not a readable request",
            NextStep(Action.REQUEST, identity.name, "make it again: {}"),
        ) from error


def request_is_attested(identity: Identity) -> bool:
    """Whether the last request has with it what lets its key prove that it is in a TPM.

    Raises:
        ConsoleError: its file cannot be read.
    """
    if not identity.has_request:
        return False
    return ATTESTED_KEY in read_bounded(identity.request, _SMALL_FILE_BYTES)


def kept_certificate(identity: Identity) -> x509.Certificate | None:
    """The current certificate; None if there is none.

    Raises:
        ConsoleError: its file is damaged or cannot be read.
    """
    chain = kept_chain(identity)
    return chain[0] if chain else None


def kept_chain(identity: Identity) -> list[x509.Certificate]:
    """The current certificate and those that came with it; empty if there is none.

    Raises:
        ConsoleError: their file is damaged or cannot be read.
    """
    return _certificates(identity.certificate)


def certificate_before(identity: Identity) -> x509.Certificate | None:
    """The certificate that the current one replaced; None if it was not kept.

    Raises:
        ConsoleError: its file is damaged or cannot be read.
    """
    chain = _certificates(previous(identity.certificate))
    return chain[0] if chain else None


def _certificates(path: Path) -> list[x509.Certificate]:
    from tpmconsole.x509.bundle import read_bundle

    return read_bundle(read_bounded(path, CERTIFICATE_BYTES)) if _is_file(path) else []


def unless_damaged(read: Callable[[], Kept | None]) -> Kept | None:
    """What is kept, or None: a damaged file must not block its own replacement."""
    try:
        return read()
    except ConsoleError:
        return None
