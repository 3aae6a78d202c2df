"""A session's two folders: its configuration, which it cannot change, and what it writes itself.

``sessions/ID`` belongs to its owner: the order, the key file, the OpenSSL configuration. A process
with more rights than the session trusts only what it reads there. ``sessions/ID/state`` belongs to
the session: status, events, log, lock. For a systemd service it is the unit's StateDirectory=.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.events import now
from tpmconsole.session.memory_folder import RUN, choose_memory_folder, clear_memory_folder
from tpmconsole.session.said import object_of, shown, unchanged, whole
from tpmconsole.session.spec import Credentials, SessionSpec
from tpmconsole.session.status import FILE, SessionStatus, State
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.system.files import (
    cannot_write,
    make_private_folder,
    read_bounded,
    temporary_folder,
    write_atomic,
)
from tpmconsole.system.untrusted import owner_of, read
from tpmconsole.tpm.model import Connection, KeyRef

ID = re.compile(r"(client|server)-(\d{1,9})")
_UNIT = re.compile(rf"tpmconsole-({ID.pattern})\.service")
ORDER_FILE = "order.json"
KEY_FILE = "key.pem"
CONFIGURATION_FILE = "openssl.cnf"
CERTIFICATE_FILE, TRUST_FILE, CRL_FILE = "certificate.pem", "trust.pem", "crl.pem"
STATE = "state"
LOG_FILE = "session.log"
FILE_BYTES = 256 * 1024
SERVICES = Path("/var/lib")  # where systemd makes a unit's StateDirectory=
_KEY_BYTES = 64 * 1024
_NO_KEY = KeyRef(pem=b"")


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """The configuration of a session's process: everything except the password.

    Attributes:
        boot: the kernel's id of the boot that the session belongs to; process numbers and start
            times of another boot mean nothing.
        unit: the systemd unit that runs it; None for none.
        memory: its folder in memory, chosen when the session is made; None for none.
    """

    spec: SessionSpec
    credentials: Credentials
    connection: Connection
    engine: EngineChoice
    boot: str
    unit: str | None = None
    memory: Path | None = None


def names(root: Path) -> Iterator[str]:
    """Yield the ids of the sessions in a folder.

    Raises:
        ConsoleError: we are not allowed to read the folder.
    """
    try:
        found = [one.name for one in root.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise may_not_look(root, error) from error
    yield from (name for name in found if ID.fullmatch(name))


class MayNotLookError(ConsoleError):
    """We are not allowed to read a session's files, so its state is unknown."""


def may_not_look(path: Path, error: OSError) -> MayNotLookError:
    """Return the error that says why nothing is known about a session."""
    return MayNotLookError(
        "Session not read",
        f"{path}: {error.strerror or error}",
        "try as the user that started it, or as root",
        ExitCode.UNEXPECTED,
    )


def unit_name(session: str) -> str:
    """Return the name of a session's unit, by the session's id."""
    return f"{state_name(session)}.service"


def session_of(unit: str) -> str:
    """Return the id of a unit's session: the reverse of ``unit_name``."""
    return unit.removeprefix("tpmconsole-").removesuffix(".service")


def state_name(session: str) -> str:
    """Return the name of the state folder in a session's unit."""
    return f"tpmconsole-{session}"


def state_of(folder: Path, unit: str | None) -> Path:
    """Return the folder to which a session writes its status.

    Args:
        folder: the session's, with its order.
        unit: as in the order.
    """
    return folder / STATE if unit is None else SERVICES / state_name(folder.name)


def memory_of(folder: Path, order: SessionConfig) -> Path | None:
    """Return a session's status folder in memory; None if there is no such folder of its own."""
    if order.memory is None or order.unit is not None:
        return order.memory
    if not order.memory.name.endswith(f"-{folder.name}"):
        return None  # another session's order, copied
    try:
        is_its_own = owner_of(order.memory) == owner_of(state_of(folder, None))
    except OSError:
        return None
    return order.memory if is_its_own else None


class Places(NamedTuple):
    """The folders of a session's status: on the disk, and in memory (None for none)."""

    state: Path
    memory: Path | None


def find_places(folder: Path) -> Places:
    """Read a session's order and return its places; if it is damaged, ``folder``'s own."""
    try:
        order = read_order(folder, with_key=False)
    except ConsoleError:
        return Places(folder / STATE, None)
    return Places(state_of(folder, order.unit), memory_of(folder, order))


def with_given(order: SessionConfig, given: Path) -> SessionConfig:
    """Return the order of a unit's session: its certificates are copies in a folder of root."""
    crl = str(given / CRL_FILE) if order.spec.crl is not None else None
    certificate, trust = given / CERTIFICATE_FILE, given / TRUST_FILE
    return replace(
        order,
        spec=replace(order.spec, crl=crl),
        credentials=replace(order.credentials, certificate=certificate, trust=trust),
    )


def new_folder(root: Path, order: SessionConfig) -> Path:
    """Make a new session's folder: complete as soon as it is visible, with a number of its own.

    Raises:
        ConsoleError: it cannot be made.
    """
    make_private_folder(root)
    role = order.spec.role
    try:
        with temporary_folder(root / role) as unfinished:
            while True:
                taken = [int(name.partition("-")[2]) for name in names(root) if role in name]
                folder = root / f"{role}-{max(taken, default=0) + 1}"
                order = replace(order, memory=choose_memory_folder(root, folder.name))
                write_order(unfinished, order, first_facts(folder.name, order))
                try:
                    return unfinished.rename(folder)
                except OSError:
                    if not folder.exists():
                        raise
                    # Another console has taken this number meanwhile.
    except OSError as error:
        raise cannot_write(root, error) from error


def first_facts(session: str, order: SessionConfig) -> SessionStatus:
    """Return the status of a session that has not yet written one."""
    started = now()
    return SessionStatus(
        id=session,
        role=order.spec.role,
        identity=order.credentials.identity,
        address=order.spec.address,
        engine=order.engine.name,
        why_engine=order.engine.why,
        since=started,
        started=started,
        protocol=order.spec.protocol,
        simulated=order.connection.simulated,
        unit=order.unit,
    )


def write_order(folder: Path, order: SessionConfig, facts: SessionStatus) -> None:
    """Write a new session's files: its order, its key file, its OpenSSL configuration.

    The key file is copied, so that the session keeps running when its identity is changed.

    Raises:
        ConsoleError: they cannot be written.
    """
    if order.credentials.key.pem is not None:
        write_atomic(folder / KEY_FILE, order.credentials.key.pem)
    if order.engine.openssl_conf is not None:
        write_atomic(folder / CONFIGURATION_FILE, order.engine.openssl_conf.encode())
    write_facts(make_private_folder(folder / STATE), order.boot, facts, durable=True)
    _write_order_file(folder, order)


def hand_over(folder: Path) -> None:
    """Make a session one that systemd runs.

    Raises:
        ConsoleError: its order is damaged, or cannot be written.
    """
    order = read_order(folder)
    clear_memory_folder(order.memory, folder / STATE)
    memory = RUN / state_name(folder.name)  # RuntimeDirectory=
    _write_order_file(folder, replace(order, unit=unit_name(folder.name), memory=memory))


def _write_order_file(folder: Path, order: SessionConfig) -> None:
    credentials = order.credentials
    data = {
        "unit": order.unit,
        "memory": None if order.memory is None else str(order.memory),
        "boot": order.boot,
        "spec": asdict(order.spec),
        "credentials": {
            "identity": credentials.identity,
            "handle": credentials.key.handle,
            "certificate": str(credentials.certificate),
            "trust": str(credentials.trust),
        },
        "connection": asdict(order.connection)
        | {"environment": dict(order.connection.environment)},
        "engine": {
            "name": order.engine.name,
            "why": order.engine.why,
            "module_version": order.engine.module_version,
        },
    }
    write_atomic(folder / ORDER_FILE, json.dumps(data, indent=1).encode() + b"\n")


def write_facts(state: Path, boot: str, facts: SessionStatus, *, durable: bool = False) -> None:
    """Write a session's status atomically; for its own process.

    Args:
        state: its folder, on the disk or in memory.

    Raises:
        ConsoleError: it cannot be written.
    """
    data = facts.to_json() | {"boot": boot}
    write_atomic(state / FILE, json.dumps(data, indent=1).encode() + b"\n", durable=durable)


def read_facts(folder: Path, order: SessionConfig) -> tuple[SessionStatus, str]:
    """Return the status that a session last wrote, and its boot; its order says which one it is.

    Raises:
        ConsoleError: its file is missing or damaged.
        MayNotLookError: we are not allowed to read it.
    """
    file = state_of(folder, order.unit) / FILE
    first = first_facts(folder.name, order)
    try:
        data = object_of(_read_status(file, memory_of(folder, order)))
        return first.as_said(data), shown(str(data.get("boot", "")))
    except FileNotFoundError as error:
        if order.unit is not None:  # not started yet
            return replace(first, state=State.STOPPED), ""
        raise _damaged(file, folder, "is missing") from error
    except PermissionError as error:
        raise may_not_look(file, error) from error
    except OSError as error:
        raise _damaged(file, folder, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _damaged(file, folder) from error


def _read_status(file: Path, memory: Path | None) -> bytes:
    """The file in memory is newer than the one on disk; it is removed when the session ends."""
    if memory is not None:
        with suppress(OSError):
            return read(memory / FILE, FILE_BYTES)
    return read(file, FILE_BYTES)


def read_order(folder: Path, *, with_key: bool = True) -> SessionConfig:
    """Return the order that ``write_order`` wrote.

    Args:
        with_key: read the key file too, if it has one; otherwise the key is empty.

    Raises:
        ConsoleError: a file is missing or damaged.
        MayNotLookError: we are not allowed to read it.
    """
    file = folder / ORDER_FILE
    data = _read_ours(file, FILE_BYTES)
    try:
        order = _order_of(object_of(data))
    except (ValueError, TypeError, LookupError) as error:
        raise _damaged(file, folder) from error
    if order.credentials.key != _NO_KEY or not with_key:
        return order
    key = KeyRef(pem=_read_ours(folder / KEY_FILE, _KEY_BYTES))
    return replace(order, credentials=replace(order.credentials, key=key))


def _read_ours(file: Path, limit: int) -> bytes:
    """Read a file of the session's owner.

    Raises:
        ConsoleError: it is missing or larger, or we are not allowed to read it.
    """
    try:
        return read_bounded(file, limit)
    except ConsoleError as error:
        if isinstance(error.__cause__, PermissionError):
            raise may_not_look(file, error.__cause__) from error
        raise


def _order_of(data: Mapping[str, Any]) -> SessionConfig:
    """An order without its key file; raises ValueError if a part of it is invalid."""
    unit, told = data["unit"], whole(_Told, data["credentials"], unchanged)
    if unit is not None and not _UNIT.fullmatch(unit):
        raise ValueError("not a unit of tpmconsole")
    memory = data.get("memory")
    return SessionConfig(
        spec=whole(SessionSpec, data["spec"], unchanged),
        credentials=Credentials(
            told.identity,
            _NO_KEY if told.handle is None else KeyRef(handle=told.handle),
            Path(told.certificate),
            Path(told.trust),
        ),
        connection=whole(Connection, data["connection"], unchanged),
        engine=whole(EngineChoice, data["engine"], unchanged),
        boot=str(data["boot"]),
        unit=unit,
        memory=None if memory is None else Path(memory),
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """The credentials in an order."""

    identity: str
    handle: int | None
    certificate: str
    trust: str


def _damaged(file: Path, folder: Path, what: str = "is not valid") -> ConsoleError:
    return ConsoleError(
        "Session file damaged",
        f"{file} {what}",
        f"remove the folder {folder} when nothing runs there",
        ExitCode.UNEXPECTED,
    )
