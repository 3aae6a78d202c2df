"""What a session is told to do, and what it says of itself: plain immutable data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tpmconsole.errors import ConsoleError, usage_error
from tpmconsole.session.events import now
from tpmconsole.tpm.model import KeySource

ROLES = ("client", "server")
PROTOCOLS = ("line", "https")
ENGINES = ("auto", "provider", "bridge")
TLS_VERSIONS = ("1.2", "1.3")
LONGEST_HOST = 253  # RFC 1035, 2.3.4, without the final dot
LONGEST_PATH = 1024
LONGEST_INTERVAL_S = 86_400.0
RECENT = 24


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
class SessionSpec:
    """What to do.

    Attributes:
        role: ``client`` or ``server``.
        identity: the name of the identity whose key and certificate are used.
        host: whom to connect to, or which address to listen on.
        port: 1 to 65535; a server may also say 0 and gets a free one.
        protocol: what a client speaks: ``line`` or ``https``.
        interval_s: seconds between a client's messages.
        count: how many messages a client sends before it ends; None for no end.
        engine: ``auto``, ``provider`` or ``bridge``.
        path: what an ``https`` client fetches.
        min_tls: ``1.2`` or ``1.3``; None for 1.2.
        max_tls: ``1.2`` or ``1.3``; None for 1.3.
        retries: how often in a row a client tries again before it gives up; None for the usual:
            for ever, and a few times with a count.
        last_try: send the key's password also where a wrong one would lock the TPM.
        crl: full path of a file with lists of revoked certificates; None for none.
    """

    role: str
    identity: str
    host: str
    port: int
    protocol: str = "line"
    interval_s: float = 1.0
    count: int | None = None
    engine: str = "auto"
    path: str = "/"
    min_tls: str | None = None
    max_tls: str | None = None
    retries: int | None = None
    last_try: bool = False
    crl: str | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT``, an IPv6 address in brackets."""
        return address_text(self.host, self.port)

    def check(self) -> None:
        """Refuse what cannot be right, whatever the board and the network are like.

        Raises:
            ConsoleError: which value is wrong, and what it may be.
        """
        _one_of("role", self.role, ROLES)
        _one_of("protocol", self.protocol, PROTOCOLS)
        _one_of("engine", self.engine, ENGINES)
        for version in (self.min_tls, self.max_tls):
            if version is not None:
                _one_of("TLS version", version, TLS_VERSIONS)
        if (self.min_tls or "1.2") > (self.max_tls or "1.3"):
            raise _wrong("the lowest TLS version is above the highest", "swap them")
        self._check_address()
        if not (0 <= self.interval_s <= LONGEST_INTERVAL_S and math.isfinite(self.interval_s)):
            raise _wrong(f"an interval of {self.interval_s} seconds", "give 0 to 86400 seconds")
        if self.count is not None and self.count < 1:
            raise _wrong(f"a count of {self.count}", "give 1 or more, or leave it out")
        if self.retries is not None and self.retries < 0:
            raise _wrong(f"{self.retries} retries", "give 0 or more, or leave it out")
        if not self.path.startswith("/") or len(self.path) > LONGEST_PATH or _odd(self.path):
            raise _wrong(
                "the path cannot be part of a request",
                f"give one that starts with /, has no spaces and at most {LONGEST_PATH} letters",
            )

    def _check_address(self) -> None:
        lowest = 0 if self.role == "server" else 1
        if not lowest <= self.port <= 65535:
            raise _wrong(f"there is no port {self.port}", f"give a port from {lowest} to 65535")
        if not self.host or len(self.host) > LONGEST_HOST or _odd(self.host):
            raise _wrong(
                f"'{self.host[:40]}' is no host name or address",
                "give a name such as broker.local or an address such as 192.0.2.7",
            )


def address_text(host: str, port: int) -> str:
    """``HOST:PORT``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _odd(text: str) -> bool:
    return not text.isprintable() or not text.isascii() or " " in text


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise _wrong(f"'{value}' is no {what}", f"use one of {', '.join(known)}")


def _wrong(cause: str, remedy: str) -> ConsoleError:
    return usage_error("Session not started", cause, remedy)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a session proves itself with, and what it believes of others.

    Attributes:
        identity: the identity's name.
        key: its TSS2 key file's content, or its persistent handle.
        certificate: PEM file: the certificate, then its intermediates.
        trust: PEM file: the trust anchors for the peer.
        role: what the certificate was asked for, where that is known.
    """

    identity: str
    key: KeySource
    certificate: Path
    trust: Path
    role: str | None = None


@dataclass(frozen=True, slots=True)
class PeerFacts:
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
class Trouble:
    """An error that a session met and when: ISO 8601 UTC."""

    title: str
    cause: str
    remedy: str
    time: str = ""

    @classmethod
    def of(cls, error: ConsoleError, time: str = "") -> Trouble:
        """A session's error from what was raised."""
        return cls(error.title, error.cause, error.remedy, time)


@dataclass(frozen=True, slots=True)
class SessionFacts:
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
        cpu_percent: of one processor, since it was asked for last; None where it does not run.
        waiting_for: ``peer`` or ``tpm`` where it cannot go on without one of them; else None.
        retry_at: when a client tries to connect again, ISO 8601 UTC; None where it does not wait.
        last_error: title, cause, remedy and time of the last thing that went wrong.
        unit: the systemd unit that runs it; None for none.
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
    peer: PeerFacts | None = None
    handshakes: int = 0
    handshake_ms: HandshakeTimes = HandshakeTimes()
    connections: int = 0
    reconnects: int = 0
    messages: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    waiting_for: str | None = None
    retry_at: str | None = None
    last_error: Trouble | None = None
    unit: str | None = None

    @property
    def word(self) -> str:
        """The state in one word: ``waiting`` for one that runs and cannot go on just now."""
        return "waiting" if self.waiting_for and not self.state.ended else self.state.value

    def to_json(self) -> dict[str, Any]:
        """The answer of ``session show --json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SessionFacts:
        """The facts that ``to_json`` made, as a session's file holds them.

        Raises:
            ValueError: it is something else.
        """
        known = {field.name for field in fields(cls)}
        try:
            values = {name: value for name, value in data.items() if name in known}
            values["state"] = State(values["state"])
            times = values.get("handshake_ms") or {}
            values["handshake_ms"] = HandshakeTimes(
                **times | {"recent": tuple(times.get("recent", ()))}
            )
            peer, trouble = values.get("peer"), values.get("last_error")
            values["peer"] = PeerFacts(**peer) if peer else None
            values["last_error"] = Trouble(**trouble) if trouble else None
            facts = cls(**values)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no facts of a session: {error}") from error
        return facts

    def begun(self, pid: int, start_time: int, address: str) -> SessionFacts:
        """The same session as its process begins, for the first time or again."""
        return SessionFacts(
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

    def ended(self, state: State, since: str, trouble: Trouble | None = None) -> SessionFacts:
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
