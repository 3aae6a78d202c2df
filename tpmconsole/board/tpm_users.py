"""Find the other programs that use the board's TPM."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.inputs import address_text
from tpmconsole.system.processes import PROC, check_proc, family
from tpmconsole.system.sockdiag import servers_of_sockets

if TYPE_CHECKING:
    from tpmconsole.board import Board

LOOK_S = 2.0
_MAPS_BYTES = 4 * 1024 * 1024
CONNECTIONS = 64

# Files that are mapped into a program that uses the TPM through a library.
_MODULES = {
    "/tpm2.so": "OpenSSL's module tpm2",
    "/libtss2-esys.so": "the TSS (libtss2-esys)",
}
# Files that are mapped into a program that uses TLS.
_TLS = ("libssl", "libgnutls", "libmbedtls", "libwolfssl", "libnss3", "_ssl.cpython")


@dataclass(frozen=True, slots=True)
class Link:
    """A TCP connection of a process, or a port that it listens on (``remote`` is empty)."""

    local: str
    remote: str
    state: str


@dataclass(frozen=True, slots=True)
class TpmUser:
    """A process that uses the TPM.

    Attributes:
        how: a device or a simulator that it has open, or a library that it has loaded.
        since: its start, ISO 8601 UTC.
        tls: the TLS library that it has loaded; empty if no such library was found or its
            memory map cannot be read.
        connections: its TCP connections; the kernel does not know which of them use TLS.
    """

    pid: int
    name: str
    user: str
    how: str
    since: str
    tls: str = ""
    connections: tuple[Link, ...] = ()

    @property
    def age_s(self) -> int:
        """Seconds since its start."""
        return max(
            0, round((datetime.now(UTC) - datetime.fromisoformat(self.since)).total_seconds())
        )

    def to_json(self) -> dict[str, Any]:
        """The user as commands with ``--json`` print it."""
        return asdict(self) | {"age_s": self.age_s}


def tpm_users(board: Board) -> list[TpmUser]:
    """The other programs that use the TPM: not our sessions, our worker or our simulator."""

    simulator = board.simulator.status()
    ours = [os.getpid(), *simulator.pids.values(), *board.sessions.pids()]
    sockets = None
    if board.settings.simulate:
        bus = simulator.bus
        sockets = Path(bus.removeprefix("unix:path=")).parent if bus else board.settings.simulator
    return foreign_users(family(ours), sockets)


def foreign_users(known: Iterable[int] = (), simulator: Path | None = None) -> list[TpmUser]:
    """Processes that use the TPM and were not started by us, the oldest first.

    Examines the processes that this user can see, for at most two seconds, and returns those
    found by then.

    Args:
        known: process numbers to leave out: our own.
        simulator: the folder of the simulator's sockets, if the TPM is one. Then a program must
            be connected to it: a library alone does not show which TPM it is used for.
    """
    check_proc()
    left_out = {os.getpid(), *known}
    servers = servers_of_sockets() if simulator is not None else {}
    places = {
        f"socket:[{inode}]": path
        for inode, path in servers.items()
        if simulator is not None and Path(path).parent == simulator
    }
    deadline = time.monotonic() + LOOK_S
    found = []
    for entry in PROC.iterdir():
        if time.monotonic() > deadline:
            break
        if not entry.name.isdecimal() or int(entry.name) in left_out:
            continue
        opened, maps = _opened(entry, places), _maps(entry)
        module = _module(maps) if opened or simulator is None else ""
        how = ", ".join(filter(None, (opened, module)))
        user = _user(int(entry.name), how, maps) if how else None
        if user:
            found.append(user)
    return sorted(found, key=lambda user: (user.since, user.pid))


def _opened(entry: Path, places: Mapping[str, str]) -> str:
    try:
        for descriptor in (entry / "fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("/dev/tpm"):
                return target
            if target in places:
                return f"the simulator ({places[target]})"
    except OSError:
        pass  # it has ended, or belongs to another user
    return ""


def _maps(entry: Path) -> bytes:
    try:
        with (entry / "maps").open("rb") as file:
            return file.read(_MAPS_BYTES)
    except OSError:
        return b""


def _module(maps: bytes) -> str:
    return next((words for name, words in _MODULES.items() if name.encode() in maps), "")


def _user(pid: int, how: str, maps: bytes) -> TpmUser | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return TpmUser(
            pid=pid,
            name=process.name(),
            user=process.username(),
            how=how,
            since=datetime.fromtimestamp(process.create_time(), UTC).isoformat(timespec="seconds"),
            tls=next((name.partition(".")[0] for name in _TLS if name.encode() in maps), ""),
            connections=_links(process),
        )
    except psutil.Error:
        return None


def _links(process: Any) -> tuple[Link, ...]:
    """The open TCP connections, and the ports listened on; listeners first."""
    # psutil before 6.0 has the method under its older name.
    ask = getattr(process, "net_connections", None) or process.connections
    found = [
        Link(_address(one.laddr), _address(one.raddr), one.status.lower())
        for one in ask(kind="tcp")
        if one.status in ("ESTABLISHED", "LISTEN")
    ]
    return tuple(sorted(found, key=lambda link: (link.state != "listen", link.remote)))[
        :CONNECTIONS
    ]


def _address(address: Any) -> str:
    return address_text(address.ip, address.port) if address else ""
