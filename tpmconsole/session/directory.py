"""A session's two places: what it was told, which it cannot change, and what it says of itself.

``sessions/ID`` is its owner's: the order, the key file, the OpenSSL configuration. That alone is
ever read back by somebody with more rights than the session has. ``sessions/ID/state`` is the
session's: status, events, log, lock. Of a service of systemd's it is the unit's StateDirectory=.
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
    """What a session's process is told: all but the password.

    Attributes:
        boot: the kernel's name for the boot that the session belongs to; process numbers and start
            times of another boot mean nothing.
        unit: the systemd unit that runs it; None for none.
        memory: its folder in memory, chosen when it is made; None for none.
    """

    spec: SessionSpec
    credentials: Credentials
    connection: Connection
    engine: EngineChoice
    boot: str
    unit: str | None = None
    memory: Path | None = None


def names(root: Path) -> Iterator[str]:
    """The sessions below a folder, by their ids.

    Raises:
        ConsoleError: we may not look into it.
    """
    try:
        found = [one.name for one in root.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise may_not_look(root, error) from error
    yield from (name for name in found if ID.fullmatch(name))


class MayNotLookError(ConsoleError):
    """A session's files are not ours to read, which says nothing of how it is."""


def may_not_look(path: Path, error: OSError) -> MayNotLookError:
    """Why nothing is known of a session, in words."""
    return MayNotLookError(
        "Session not read",
        f"{path}: {error.strerror or error}",
        "look as the user that started it, or as root",
        ExitCode.UNEXPECTED,
    )


def unit_name(session: str) -> str:
    """The unit of a session, by the session's id."""
    return f"{state_name(session)}.service"


def session_of(unit: str) -> str:
    """The reverse of ``unit_name``."""
    return unit.removeprefix("tpmconsole-").removesuffix(".service")


def state_name(session: str) -> str:
    """What the unit of a session calls the folder that is the session's."""
    return f"tpmconsole-{session}"


def state_of(folder: Path, unit: str | None) -> Path:
    """Where a session says how it is.

    Args:
        folder: the session's, with its order.
        unit: as the order has it.
    """
    return folder / STATE if unit is None else SERVICES / state_name(folder.name)


def memory_of(folder: Path, order: SessionConfig) -> Path | None:
    """Where in memory a session says how it is; None where nothing there is the session's."""
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
    """Where a session says how it is, on the disk and in memory (None for nowhere)."""

    state: Path
    memory: Path | None


def find_places(folder: Path) -> Places:
    """The same, where the order has not been read; with a damaged one it is below ``folder``."""
    try:
        order = read_order(folder, with_key=False)
    except ConsoleError:
        return Places(folder / STATE, None)
    return Places(state_of(folder, order.unit), memory_of(folder, order))


def with_given(order: SessionConfig, given: Path) -> SessionConfig:
    """The order of a session that a unit runs: it finds its certificates in a folder of root's."""
    crl = str(given / CRL_FILE) if order.spec.crl is not None else None
    certificate, trust = given / CERTIFICATE_FILE, given / TRUST_FILE
    return replace(
        order,
        spec=replace(order.spec, crl=crl),
        credentials=replace(order.credentials, certificate=certificate, trust=trust),
    )


def new_folder(root: Path, order: SessionConfig) -> Path:
    """Make a new session's folder: whole when anybody sees it, and of its own for each that asks.

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
                    # Another console was quicker.
    except OSError as error:
        raise cannot_write(root, error) from error


def first_facts(session: str, order: SessionConfig) -> SessionStatus:
    """What there is to say of a session before it has said anything."""
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
    """Lay a new session's files down: its order, its key file, its OpenSSL configuration.

    The key file is copied: the session goes on when its identity is changed.

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
    """From now on systemd runs a session.

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
    """Write what a session says of itself, whole; for its own process.

    Args:
        state: its folder, on the disk or in memory.

    Raises:
        ConsoleError: it cannot be written.
    """
    data = facts.to_json() | {"boot": boot}
    write_atomic(state / FILE, json.dumps(data, indent=1).encode() + b"\n", durable=durable)


def read_facts(folder: Path, order: SessionConfig) -> tuple[SessionStatus, str]:
    """What a session last said of itself, and its boot; who it is, its order says.

    Raises:
        ConsoleError: its file is missing or damaged.
        MayNotLookError: it may not be read.
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
        raise _damaged(file, folder, f"is not read: {error.strerror}") from error
    except ValueError as error:
        raise _damaged(file, folder) from error


def _read_status(file: Path, memory: Path | None) -> bytes:
    """What is in memory is newer than what is on the disk; it goes when the session ends."""
    if memory is not None:
        with suppress(OSError):
            return read(memory / FILE, FILE_BYTES)
    return read(file, FILE_BYTES)


def read_order(folder: Path, *, with_key: bool = True) -> SessionConfig:
    """What ``write_order`` wrote.

    Args:
        with_key: with the key file, where it has one; else that is empty.

    Raises:
        ConsoleError: a file is missing or damaged.
        MayNotLookError: it may not be read.
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
    """A file of the session's owner.

    Raises:
        ConsoleError: it is missing, larger, or may not be read.
    """
    try:
        return read_bounded(file, limit)
    except ConsoleError as error:
        if isinstance(error.__cause__, PermissionError):
            raise may_not_look(file, error.__cause__) from error
        raise


def _order_of(data: Mapping[str, Any]) -> SessionConfig:
    """An order without its key file; raises ValueError where a part of it is not good."""
    unit, told = data["unit"], whole(_Told, data["credentials"], unchanged)
    if unit is not None and not _UNIT.fullmatch(unit):
        raise ValueError("no unit of ours")
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
    """Credentials as an order has them."""

    identity: str
    handle: int | None
    certificate: str
    trust: str


def _damaged(file: Path, folder: Path, what: str = "cannot be understood") -> ConsoleError:
    return ConsoleError(
        "Session file damaged",
        f"{file} {what}",
        f"remove the folder {folder} once nothing runs there",
        ExitCode.UNEXPECTED,
    )
