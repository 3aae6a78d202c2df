"""The text of the Sessions page, without a screen."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tpmconsole.board.tpm_users import Link, TpmUser
from tpmconsole.session.status import HandshakeTimes, LastError, PeerInfo, SessionStatus, State
from tpmconsole.ui.pages.sessions.details import (
    BLOCK_LEVELS,
    event_facts,
    session_facts,
    sparkline,
    steady,
    user_facts,
)
from tpmconsole.ui.rows import Fact, lay_out

RUNNING = SessionStatus(
    "client-1",
    "client",
    "gateway",
    "localhost:8443",
    engine="bridge",
    why_engine="tpm2-openssl 1.1.1 is older than 1.2",
    state=State.RUNNING,
    since="2026-11-25T13:02:11.123+00:00",
    pid=4242,
    protocol_version="TLSv1.3",
    cipher="TLS_AES_256_GCM_SHA384",
    group="x25519",
    resumed=False,
    peer=PeerInfo("CN=broker", "CN=factory CA", "2027-11-25T00:00:00+00:00", "ab" * 32),
    handshakes=3,
    handshake_ms=HandshakeTimes.of([10.0, 40.0, 20.0]),
    messages=12,
    bytes_in=1500,
    bytes_out=99,
    reconnects=2,
    cpu_percent=1.4,
    rss_bytes=41_300_000,
    last_error=LastError("Connection lost", "broken off", "check it", "2026-11-25T13:05:59+00:00"),
)


@pytest.fixture(params=[1000, 0], ids=["user", "root"])
def who(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(os, "geteuid", lambda: request.param)
    return int(request.param)


def said(facts: list[Fact]) -> dict[str, str]:
    return {fact.label: fact.text for fact in facts}


def test_every_live_fact_is_said(who: int) -> None:
    process = "process 4242" if who else "process 4242 as root"
    assert said(session_facts(RUNNING)) == {
        "Since": f"2026-11-25 13:02:11 UTC, {process}, CPU 1 %, 41 MB",
        "Engine": "bridge: tpm2-openssl 1.1.1 is older than 1.2",
        "TLS": "TLSv1.3 TLS_AES_256_GCM_SHA384 x25519, full handshake",
        "Peer": "CN=broker, until 2027-11-25",
        "Issuer": "CN=factory CA",
        "SHA-256": "ab" * 32,
        "Handshakes": "3: last 20, median 20, 95 % 40 ms  :#=",
        "Traffic": "12 messages, 1.5 kB in, 99 B out, 2 reconnects",
        "Last error": "13:05:59 Connection lost: broken off",
        "Try": "check it",
    }


def test_all_of_it_fits_into_the_pane(who: int) -> None:
    """Twelve rows; the engine's reason and the error take a second row each."""
    long = replace(RUNNING, last_error=replace(RUNNING.last_error, cause="x " * 60))  # type: ignore[type-var]
    assert len(lay_out(session_facts(long), 80, 0).plain.splitlines()) <= 12
    assert max(map(len, lay_out(session_facts(RUNNING), 80, 0).plain.splitlines())) <= 80


def test_a_session_without_a_handshake_says_so() -> None:
    facts = said(session_facts(SessionStatus("server-1", "server", "gateway", "h:1")))
    assert facts["TLS"] == "no handshake yet"
    assert facts["Peer"] == facts["Since"] == facts["Engine"] == "-"
    assert facts["Handshakes"] == "0"
    assert facts["Traffic"].endswith("0 connected")
    probed = said(session_facts(SessionStatus("server-1", "server", "gateway", "h:1", probes=3)))
    assert probed["Traffic"].endswith("0 connected, 3 health checks")


def test_sparklines() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "__"
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "_.:-=+*#"
    assert sparkline([7, 3.5], BLOCK_LEVELS) == "█▅"
    assert sparkline([-1, 1]) == "_#"


def test_an_idle_session_shows_the_same_for_ever() -> None:
    trembling = replace(RUNNING, cpu_percent=0.3, rss_bytes=41_900_000)
    assert steady(RUNNING, trembling) == RUNNING
    assert steady(None, trembling) == trembling
    busy = replace(RUNNING, cpu_percent=80.0)
    assert steady(RUNNING, busy) == busy
    assert steady(busy, trembling) == trembling
    talking = replace(trembling, messages=13)
    assert steady(RUNNING, talking) == talking


def test_another_program_with_its_age_and_connections() -> None:
    since = datetime.now(UTC) - timedelta(minutes=3, seconds=1)
    user = TpmUser(
        *(7, "openssl\x1b[2J", "alice", "/dev/tpmrm0", since.isoformat(timespec="seconds")),
        tls="libssl",
        connections=(Link("0.0.0.0:443", "", "listen"), Link("a:1", "b:2", "established")),
    )
    text = lay_out(user_facts(user, age=True), 80, 0).plain
    for words in ("\\x1b[2J", "alice", "/dev/tpmrm0", "3 min ago", "libssl", "a:1 <-> b:2"):
        assert words in text
    assert "listens on 0.0.0.0:443" in text
    assert "ago" not in lay_out(user_facts(user), 80, 0).plain
    assert user.to_json()["age_s"] in range(181, 185)


def test_everything_in_an_event() -> None:
    facts = said(
        event_facts({"time": "t", "event": "handshake", "peer": {"subject": "CN=a"}, "ms": 3})
    )
    assert facts == {"time": "t", "event": "handshake", "peer subject": "CN=a", "ms": "3"}
