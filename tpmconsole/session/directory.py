"""A session's folder: what it was told to do, and what it last said of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.events import now
from tpmconsole.session.said import object_of, shown
from tpmconsole.session.spec import Credentials, SessionSpec
from tpmconsole.session.status import SessionStatus
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.system.files import (
    cannot_write,
    make_private_folder,
    read_bounded,
    temporary_folder,
    write_atomic,
)
from tpmconsole.system.untrusted import read
from tpmconsole.tpm.model import Connection, KeyRef

ID = re.compile(r"(client|server)-(\d{1,9})")
FILE = "session.json"
KEY_FILE = "key.pem"
CONFIGURATION_FILE = "openssl.cnf"
LOG_FILE = "session.log"
FILE_BYTES = 256 * 1024
_KEY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a session's process is told: all but the password.

    Attributes:
        boot: the kernel's name for the boot that the session belongs to; process numbers and start
            times of another boot mean nothing.
    """

    spec: SessionSpec
    credentials: Credentials
    connection: Connection
    engine: EngineChoice
    boot: str


def names(root: Path) -> Iterator[str]:
    """The sessions below a folder, by their ids."""
    if root.is_dir():
        yield from (one.name for one in root.iterdir() if ID.fullmatch(one.name))


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
                write_order(unfinished, order, _first_facts(folder.name, order))
                try:
                    return unfinished.rename(folder)
                except OSError:
                    if not folder.exists():
                        raise
                    # Another console was quicker.
    except OSError as error:
        raise cannot_write(root, error) from error


def _first_facts(session: str, order: SessionConfig) -> SessionStatus:
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
    write_facts(folder, order, facts, durable=True)


def write_facts(
    folder: Path, order: SessionConfig, facts: SessionStatus, *, durable: bool = False
) -> None:
    """Write what the session says of itself, whole.

    Raises:
        ConsoleError: it cannot be written.
    """
    credentials = order.credentials
    data = facts.to_json() | {
        "boot": order.boot,
        "options": asdict(order.spec),
        "credentials": {
            "handle": credentials.key.handle,
            "certificate": str(credentials.certificate),
            "trust": str(credentials.trust),
        },
        "connection": asdict(order.connection)
        | {"environment": dict(order.connection.environment)},
        "module_version": order.engine.module_version,
    }
    write_atomic(folder / FILE, json.dumps(data, indent=1).encode() + b"\n", durable=durable)


def read_facts(folder: Path) -> tuple[SessionStatus, str]:
    """What a session last said of itself, and its boot.

    Raises:
        ConsoleError: its file is missing or damaged.
    """
    data = _read(folder)
    try:
        return SessionStatus.from_json(data), shown(str(data.get("boot", "")))
    except ValueError as error:
        raise _damaged(folder) from error


def read_order(folder: Path) -> tuple[SessionConfig, SessionStatus]:
    """What ``write_order`` wrote; for the session's own process.

    Raises:
        ConsoleError: a file is missing or damaged.
    """
    data = _read(folder)
    try:
        facts = SessionStatus.from_json(data)
        credentials: Mapping[str, Any] = data["credentials"]
        handle = credentials["handle"]
        pem = read_bounded(folder / KEY_FILE, _KEY_BYTES) if handle is None else None
        order = SessionConfig(
            spec=SessionSpec(**data["options"]),
            credentials=Credentials(
                identity=facts.identity,
                key=KeyRef(pem=pem, handle=handle),
                certificate=Path(credentials["certificate"]),
                trust=Path(credentials["trust"]),
            ),
            connection=Connection(**data["connection"]),
            engine=EngineChoice(
                facts.engine, facts.why_engine, module_version=data["module_version"]
            ),
            boot=str(data["boot"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(folder) from error
    return order, facts


def _read(folder: Path) -> dict[str, Any]:
    try:
        return object_of(read(folder / FILE, FILE_BYTES))
    except FileNotFoundError as error:
        raise _damaged(folder, "is missing") from error
    except OSError as error:
        raise _damaged(folder, f"is not read: {error.strerror}") from error
    except ValueError as error:
        raise _damaged(folder) from error


def _damaged(folder: Path, what: str = "cannot be understood") -> ConsoleError:
    return ConsoleError(
        "Session file damaged",
        f"{folder / FILE} {what}",
        f"remove the folder {folder} once nothing runs there",
        ExitCode.UNEXPECTED,
    )
