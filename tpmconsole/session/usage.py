"""What a session costs, and who else uses the TPM."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tpmconsole.inputs import address_text
from tpmconsole.session.condition import process_of
from tpmconsole.session.status import SessionStatus
from tpmconsole.system.processes import Process, children_of_all, family
from tpmconsole.system.sockdiag import servers_of_sockets

PROC = Path("/proc")
LOOK_S = 2.0
_MAPS_BYTES = 4 * 1024 * 1024
CONNECTIONS = 64

# What is mapped into a program that uses the TPM through a library.
_MODULES = {
    "/tpm2.so": "OpenSSL's module tpm2",
    "/libtss2-esys.so": "the TSS (libtss2-esys)",
}
# What is mapped into a program that speaks TLS.
_TLS = ("libssl", "libgnutls", "libmbedtls", "libwolfssl", "libnss3", "_ssl.cpython")

# By process: CPU seconds and the clock when they were read.
_samples: dict[Process, tuple[float, float]] = {}


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
        how: by what: a device or a simulator that it has open, a library that it has loaded.
        since: its start, ISO 8601 UTC.
        tls: the TLS library that it has loaded; empty where none was found, and where its memory
            map may not be read.
        connections: what it has open over TCP; which of it is TLS the kernel does not know.
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


def with_usage(sessions: Sequence[SessionStatus]) -> list[SessionStatus]:
    """The same sessions, those that run with the processor time and memory that they use.

    It reads the entry in /proc of every process of the machine, once for all sessions: ask only
    where the figures are shown.
    """
    at_work = {
        index: process
        for index, session in enumerate(sessions)
        if not session.state.ended and (process := process_of(session)) is not None
    }
    found = list(sessions)
    children = children_of_all() if at_work else {}
    for index, process in at_work.items():
        cpu, rss = usage(process.pid, process.started, children)
        found[index] = replace(found[index], cpu_percent=cpu, rss_bytes=rss)
    return found


def usage(
    pid: int, start_time: int, children: Mapping[int, Sequence[int]] | None = None
) -> tuple[float | None, int | None]:
    """What a process costs, and those that it has started.

    Args:
        start_time: with the pid it names the process: clock ticks since boot.
        children: as for ``family``.

    Returns:
        Per cent of one processor since this was asked last (the first time, since it began), and
        memory in bytes; None where it has gone.
    """
    import psutil

    process = Process(pid, start_time)
    try:
        if not process.alive:
            raise psutil.NoSuchProcess(pid)
        found = psutil.Process(pid)
        seconds, rss = _costs(found)
        for child in family([pid], children)[1:]:
            with suppress(psutil.Error):  # it has ended meanwhile
                more_seconds, more_rss = _costs(psutil.Process(child))
                seconds, rss = seconds + more_seconds, rss + more_rss
        clock = time.monotonic()
        before_s, before = _samples.get(process, (0.0, clock - (time.time() - found.create_time())))
    except psutil.Error:
        _samples.pop(process, None)
        return None, None
    _samples[process] = (seconds, clock)
    elapsed = max(clock - before, 1e-3)
    # A child that ended since has taken its seconds with it.
    return round(max(0.0, seconds - before_s) / elapsed * 100, 1), rss


def _costs(process: Any) -> tuple[float, int]:
    """Processor seconds until now, and bytes of memory."""
    times = process.cpu_times()
    return times.user + times.system, int(process.memory_info().rss)


def foreign_users(known: Iterable[int] = (), simulator: Path | None = None) -> list[TpmUser]:
    """Processes that use the TPM and were not started by us, the oldest first.

    Looks at what this user may see, for two seconds at most; those that were looked at until
    then are told.

    Args:
        known: process numbers to leave out: ours.
        simulator: the folder of the simulator's sockets, where the TPM is one. Then a program must
            be connected to it: a library alone does not tell which TPM it is used for.
    """
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
        pass  # it ended meanwhile, or is another user's
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
    """The TCP connections that stand, and the ports listened on; listeners first."""
    # psutil before 6.0 knows the method by its older name.
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
