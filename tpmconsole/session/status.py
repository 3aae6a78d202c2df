"""What a session says of itself: plain immutable data."""

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
# What a session was told to be; from its own mouth it counts for nothing.
_OF_THE_ORDER = ("id", "role", "identity", "protocol", "simulated", "unit", "unseen")
UNKNOWN = "unknown"

_DAMAGED = "Session file damaged"


class State(StrEnum):
    """Where a session is in its life; ``session show`` has these words."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (State.STOPPED, State.FAILED)


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """Whom we talk to, by its certificate.

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
    """A list of revoked certificates (CRL) that a session judges its peers by.

    Attributes:
        this_update: when it was made, ISO 8601 UTC.
        next_update: its end: from then on every peer is refused.
    """

    issuer: str
    this_update: str
    next_update: str


@dataclass(frozen=True, slots=True)
class HandshakeTimes:
    """How long handshakes took here, in milliseconds, from the first byte to the last.

    Attributes:
        median: of the last 256.
        p95: 95 % of those took no longer.
        recent: the last few, the oldest first.
    """

    last: float | None = None
    median: float | None = None
    p95: float | None = None
    recent: tuple[float, ...] = ()

    @classmethod
    def of(cls, times: Sequence[float]) -> HandshakeTimes:
        """The figures of some handshakes, the oldest first; at least one."""
        # The nearest rank, so that the figure is one that was measured.
        rank = math.ceil(len(times) * 0.95) - 1
        return cls(
            last=round(times[-1], 2),
            median=round(statistics.median(times), 2),
            p95=round(sorted(times)[rank], 2),
            recent=tuple(round(one, 1) for one in times[-RECENT:]),
        )


@dataclass(frozen=True, slots=True)
class LastError:
    """An error that a session met and when: ISO 8601 UTC."""

    title: str
    cause: str
    remedy: Remedy
    time: str = ""

    @classmethod
    def of(cls, error: ConsoleError, time: str = "") -> LastError:
        """A session's error from what was raised."""
        return cls(error.title, error.cause, error.remedy, time)

    def to_json(self) -> dict[str, Any]:
        """The error as a session's file holds it."""
        words = {"title": self.title, "cause": self.cause}
        return words | remedy_to_json(self.remedy) | {"time": self.time}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LastError:
        """The error that ``to_json`` made.

        Raises:
            ValueError, KeyError: it is something else.
        """
        texts = [data["title"], data["cause"], data.get("time", "")]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("no error of a session")
        title, cause, time = map(shown, texts)
        return cls(title, cause, remedy_of(data), time)


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """What ``session show`` answers (contract).

    Attributes:
        engine: ``provider`` or ``bridge``.
        why_engine: why this one.
        state: starting, running, stopped or failed.
        since: when this state began, ISO 8601 UTC.
        start_time: the process's start, clock ticks since boot; with the pid it names a process.
        signer_pid: the process that holds its key in the TPM; None where the provider does.
        address: whom a client connects to, where a server listens.
        protocol_version: this and what follows until ``peer``: of the last handshake.
        group: of the key exchange; None where this Python cannot tell.
        connections: open ones now.
        probes: connections that were closed before a byte came, as health checks do.
        cpu_percent: of one processor, since it was asked for last; None where it does not run.
        waiting_for: ``peer`` or ``tpm`` where it cannot go on without one of them; else None.
        retry_at: when a client tries to connect again, ISO 8601 UTC; None where it does not wait.
        last_error: title, cause, remedy and time of the last thing that went wrong.
        unit: the systemd unit that runs it; None for none.
        crl: of its lists of revoked certificates the one that ends first; None for none.
        unseen: we may not look how it is, and ``last_error`` says why; for others the state is then
            ``unknown``. No session says that of itself.
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
        """The state in one word: ``waiting`` for one that runs and cannot go on just now."""
        if self.unseen:
            return UNKNOWN
        return "waiting" if self.waiting_for and not self.state.ended else self.state.value

    def to_json(self) -> dict[str, Any]:
        """The answer of ``session show --json``."""
        data = asdict(self)
        if data.pop("unseen"):
            data["state"] = UNKNOWN
        if self.last_error is not None:
            data["last_error"] = self.last_error.to_json()
        return data

    def as_said(self, data: Mapping[str, Any]) -> SessionStatus:
        """The same session as it says it is: what ``to_json`` made, from its file.

        Who it is, it does not say itself. What is wrong is left out, and is then the last error.

        Raises:
            ValueError: it does not even say in what state it is.
        """
        good, bad = values_of(SessionStatus, data)
        good["last_error"], wrong = _error_of(data.get("last_error"))
        bad = [name for name in bad if name != "last_error"] + wrong
        if "state" not in good:
            raise ValueError("no state of a session")
        said = {name: value for name, value in good.items() if name not in _OF_THE_ORDER}
        facts = replace(self, **said)
        return replace(facts, last_error=_damage(bad)) if bad else facts

    @property
    def damage(self) -> str:
        """What is wrong with its file, in words; empty where nothing is."""
        damaged = self.last_error is not None and self.last_error.title == _DAMAGED
        return self.last_error.cause if damaged and self.last_error else ""

    def begun(self, pid: int, start_time: int, address: str) -> SessionStatus:
        """The same session as its process begins, for the first time or again."""
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
        """The same session after its process has gone."""
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
    """The last error, and the name of its field where it is none."""
    if data is None:
        return None, []
    try:
        return LastError.from_json(data), []
    except (ValueError, TypeError, LookupError, AttributeError):
        return None, ["last_error"]


def _damage(bad: Sequence[str]) -> LastError:
    return LastError(
        _DAMAGED,
        f"what the session says of itself has no good {', '.join(bad)}",
        "start the session again; where it comes again, the session may have been taken over",
    )
