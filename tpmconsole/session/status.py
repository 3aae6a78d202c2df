"""The status of a session, as it writes it: plain immutable data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from tpmconsole.errors import ConsoleError, Remedy, remedy_to_json
from tpmconsole.session.events import now
from tpmconsole.session.said import remedy_of, shown, values_of

FILE = "status.json"
RECENT = 24
# These fields come from a session's order; in its own status they are ignored.
_OF_THE_ORDER = ("id", "role", "identity", "protocol", "simulated", "unit", "unseen")
UNKNOWN = "unknown"

_DAMAGED = "Session file damaged"


class State(StrEnum):
    """The state of a session, in the words of ``session show``."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (State.STOPPED, State.FAILED)


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer, as its certificate names it.

    Attributes:
        not_after: ISO 8601 UTC.
        fingerprint: SHA-256 of the certificate, hex.
    """

    subject: str
    issuer: str
    not_after: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CrlInfo:
    """A list of revoked certificates (CRL) that a session checks its peers against.

    Attributes:
        this_update: when it was made, ISO 8601 UTC.
        next_update: when it expires; after that every peer is refused.
    """

    issuer: str
    this_update: str
    next_update: str


@dataclass(frozen=True, slots=True)
class HandshakeTimes:
    """How long handshakes took here, in milliseconds, from the first byte to the last.

    Attributes:
        median: of the last 256.
        p95: 95 % of the same handshakes took no longer.
        recent: the last few, the oldest first.
    """

    last: float | None = None
    median: float | None = None
    p95: float | None = None
    recent: tuple[float, ...] = ()

    @classmethod
    def of(cls, times: Sequence[float]) -> HandshakeTimes:
        """Compute the figures of at least one handshake time, the oldest first."""
        # The nearest rank, so that the figure is a measured one.
        rank = math.ceil(len(times) * 0.95) - 1
        return cls(
            last=round(times[-1], 2),
            median=round(statistics.median(times), 2),
            p95=round(sorted(times)[rank], 2),
            recent=tuple(round(one, 1) for one in times[-RECENT:]),
        )


@dataclass(frozen=True, slots=True)
class LastError:
    """An error in a session, and its time: ISO 8601 UTC."""

    title: str
    cause: str
    remedy: Remedy
    time: str = ""

    @classmethod
    def of(cls, error: ConsoleError, time: str = "") -> LastError:
        """Make a session's error from an exception."""
        return cls(error.title, error.cause, error.remedy, time)

    def to_json(self) -> dict[str, Any]:
        """Return the error in the form of a session's file."""
        words = {"title": self.title, "cause": self.cause}
        return words | remedy_to_json(self.remedy) | {"time": self.time}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LastError:
        """Return the error that ``to_json`` made.

        Raises:
            ValueError, KeyError: the data is not such an error.
        """
        texts = [data["title"], data["cause"], data.get("time", "")]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("not a session's error")
        title, cause, time = map(shown, texts)
        return cls(title, cause, remedy_of(data), time)


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """What ``session show`` prints (contract).

    Attributes:
        engine: ``provider`` or ``bridge``.
        why_engine: why this one.
        state: starting, running, stopped or failed.
        since: when this state began, ISO 8601 UTC.
        start_time: the process's start, clock ticks since boot; identifies it together with pid.
        signer_pid: the process that holds its key in the TPM; None if the provider holds it.
        address: what a client connects to, or a server listens on.
        protocol_version: of the last handshake, like the fields after it up to ``peer``.
        group: of the key exchange; None if this Python cannot report it.
        connections: the number of open ones.
        probes: connections that were closed before a byte came, as health checks do.
        cpu_percent: of one processor, since the last query; None if the session does not run.
        waiting_for: ``peer`` or ``tpm`` if it cannot continue without one of them; else None.
        retry_at: when a client tries to connect again, ISO 8601 UTC; None if it does not wait.
        last_error: title, cause, remedy and time of the last error.
        unit: the systemd unit that runs it; None for none.
        crl: the one of its lists of revoked certificates that expires first; None for none.
        unseen: we are not allowed to read its status, and ``last_error`` says why; the state is
            then shown as ``unknown``. A session never writes this itself.
    """

    id: str
    role: str
    identity: str
    address: str
    engine: str = ""
    why_engine: str = ""
    state: State = State.STARTING
    since: str = ""
    started: str = ""
    protocol: str = "line"
    pid: int | None = None
    start_time: int | None = None
    signer_pid: int | None = None
    simulated: bool = False
    protocol_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    resumed: bool | None = None
    peer: PeerInfo | None = None
    handshakes: int = 0
    handshake_ms: HandshakeTimes = HandshakeTimes()
    connections: int = 0
    probes: int = 0
    reconnects: int = 0
    messages: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    waiting_for: str | None = None
    retry_at: str | None = None
    last_error: LastError | None = None
    unit: str | None = None
    crl: CrlInfo | None = None
    unseen: bool = False

    @property
    def word(self) -> str:
        """The state in one word: ``waiting`` if it runs and cannot continue at present."""
        if self.unseen:
            return UNKNOWN
        return "waiting" if self.waiting_for and not self.state.ended else self.state.value

    def to_json(self) -> dict[str, Any]:
        """Return what ``session show --json`` prints."""
        data = asdict(self)
        if data.pop("unseen"):
            data["state"] = UNKNOWN
        if self.last_error is not None:
            data["last_error"] = self.last_error.to_json()
        return data

    def as_said(self, data: Mapping[str, Any]) -> SessionStatus:
        """Return this session with the status from its file, which ``to_json`` made.

        Its identity never comes from that file. Bad fields are left out and become the last error.

        Raises:
            ValueError: the file has no valid state.
        """
        good, bad = values_of(SessionStatus, data)
        good["last_error"], wrong = _error_of(data.get("last_error"))
        bad = [name for name in bad if name != "last_error"] + wrong
        if "state" not in good:
            raise ValueError("not a session's state")
        said = {name: value for name, value in good.items() if name not in _OF_THE_ORDER}
        facts = replace(self, **said)
        return replace(facts, last_error=_damage(bad)) if bad else facts

    @property
    def damage(self) -> str:
        """What is wrong with its file; empty if nothing is."""
        damaged = self.last_error is not None and self.last_error.title == _DAMAGED
        return self.last_error.cause if damaged and self.last_error else ""

    def begun(self, pid: int, start_time: int, address: str) -> SessionStatus:
        """Return this session as its process starts, for the first time or again."""
        return SessionStatus(
            id=self.id,
            role=self.role,
            identity=self.identity,
            address=address,
            engine=self.engine,
            why_engine=self.why_engine,
            since=(began := now()),
            started=began,
            protocol=self.protocol,
            simulated=self.simulated,
            unit=self.unit,
            pid=pid,
            start_time=start_time,
        )

    def ended(self, state: State, since: str, trouble: LastError | None = None) -> SessionStatus:
        """Return this session after its process has ended."""
        return replace(
            self,
            state=state,
            since=since,
            signer_pid=None,
            connections=0,
            cpu_percent=None,
            rss_bytes=None,
            waiting_for=None,
            retry_at=None,
            last_error=trouble or self.last_error,
        )


def _error_of(data: Any) -> tuple[LastError | None, list[str]]:
    """The last error, and the name of its field if it is not valid."""
    if data is None:
        return None, []
    try:
        return LastError.from_json(data), []
    except (ValueError, TypeError, LookupError, AttributeError):
        return None, ["last_error"]


def _damage(bad: Sequence[str]) -> LastError:
    return LastError(
        _DAMAGED,
        f"the session's status has no valid {', '.join(bad)}",
        "start the session again; if this comes back, the session may have been taken over",
    )
