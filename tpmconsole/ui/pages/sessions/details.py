"""Describe a session, and another program that uses the TPM, for the Sessions page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tpmconsole.board.lines import event_words
from tpmconsole.board.phrases import CRL_STATES, size_words
from tpmconsole.board.root_hint import session_note
from tpmconsole.errors import remedy_from_json
from tpmconsole.text import printable, seconds_words
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.rows import Fact

if TYPE_CHECKING:
    from tpmconsole.board.tpm_users import TpmUser
    from tpmconsole.finding import Finding
    from tpmconsole.session.status import SessionStatus

ASCII_LEVELS = "_.:-=+*#"
BLOCK_LEVELS = "▁▂▃▄▅▆▇█"
SPARKS = 12
OTHER = "OTHER"
# With less processor use than this, an idle session's figures are not worth sending.
IDLE_PERCENT = 5.0


def session_row(one: SessionStatus) -> tuple[str, ...]:
    """A session in the table."""
    return one.id, one.word.upper(), one.identity, one.address, str(one.messages)


def user_row(one: TpmUser) -> tuple[str, ...]:
    """Another program in the same table, which we did not start."""
    return f"pid {one.pid}", OTHER, f"{one.name} ({one.user})", one.how, "-"


def session_facts(
    one: SessionStatus, levels: str = ASCII_LEVELS, crl: Finding | None = None
) -> list[Fact]:
    """The detail pane of a session. What changes often is on separate lines.

    Args:
        crl: the finding about its list of revoked certificates.
        levels: the characters of the sparkline, from low to high.
    """
    facts = [
        Fact("Since", "", _life(one)),
        Fact("Engine", "", f"{one.engine or '-'}: {one.why_engine}" if one.engine else "-"),
        Fact("TLS", "", _tls(one)),
        *_peer(one),
        Fact("Handshakes", "", _handshakes(one, levels)),
        Fact("Traffic", "", _traffic(one)),
    ]
    if crl is not None:
        facts.append(Fact("CRL", "", ": ".join(filter(None, (CRL_STATES[crl.state], crl.text)))))
    if one.waiting_for and not one.state.ended:
        facts.append(Fact("Waiting", "", _waiting(one)))
    if one.last_error:
        error = one.last_error
        words = f"{error.time[11:19]} {error.title}: {error.cause}"
        facts.append(Fact("Last error", "", words.lstrip()))
        facts.append(Fact("Try", "", say(error.remedy)))
    return facts


def _waiting(one: SessionStatus) -> str:
    words = {"peer": "for the server", "tpm": "for the TPM"}.get(one.waiting_for or "", "")
    return f"{words}, next attempt at {one.retry_at[11:19]}" if one.retry_at else words


def _life(one: SessionStatus) -> str:
    words = [utc(one.since)]
    if not one.state.ended and one.pid is not None:
        words.append(f"process {one.pid}{' as root' if session_note(one) else ''}")
        if one.cpu_percent is not None:
            words.append(f"CPU {one.cpu_percent:.0f} %")
        if one.rss_bytes is not None:
            words.append(f"{one.rss_bytes / 1e6:.0f} MB")
    return ", ".join(words)


def _tls(one: SessionStatus) -> str:
    if one.protocol_version is None:
        return "no handshake yet"
    words = [one.protocol_version, one.cipher or "", one.group or ""]
    resumed = "resumed" if one.resumed else "full handshake"
    return " ".join(word for word in words if word) + f", {resumed}"


def _peer(one: SessionStatus) -> list[Fact]:
    peer = one.peer
    if peer is None:
        return [Fact("Peer", "", "-")]
    return [
        Fact("Peer", "", f"{peer.subject}, until {peer.not_after[:10]}"),
        Fact("Issuer", "", peer.issuer),
        Fact("SHA-256", "", peer.fingerprint),
    ]


def _handshakes(one: SessionStatus, levels: str) -> str:
    times = one.handshake_ms
    if times.last is None or times.median is None:
        return str(one.handshakes)
    longest = f", 95 % {times.p95:.0f}" if times.p95 is not None else ""
    words = f"{one.handshakes}: last {times.last:.0f}, median {times.median:.0f}{longest} ms"
    return f"{words}  {sparkline(times.recent[-SPARKS:], levels)}".rstrip()


def sparkline(values: Sequence[float], levels: str = ASCII_LEVELS) -> str:
    """Values as one character each, from zero to the largest of them."""
    top = max(values, default=0.0)
    if top <= 0:
        return levels[0] * len(values)
    last = len(levels) - 1
    return "".join(levels[round(max(0.0, value) / top * last)] for value in values)


def _traffic(one: SessionStatus) -> str:
    if one.protocol == "tls":
        kept = "connection kept, nothing is sent on it" if one.connections else "not connected"
        return f"{kept}, {one.reconnects} reconnects"
    words = [
        f"{one.messages} messages",
        f"{size_words(one.bytes_in)} in",
        f"{size_words(one.bytes_out)} out",
    ]
    if one.role == "server":
        words.append(f"{one.connections} connected")
        if one.probes:
            words.append(f"{one.probes} health checks")
    else:
        words.append(f"{one.reconnects} reconnects")
    return ", ".join(words)


def steady(shown: SessionStatus | None, found: SessionStatus) -> SessionStatus:
    """``found``, but with the figures already shown if only these have changed.

    The memory and processor time of an idle session change slightly all the time; showing that
    would keep a slow line busy for nothing.
    """
    if shown is None:
        return found
    calm = replace(found, cpu_percent=shown.cpu_percent, rss_bytes=shown.rss_bytes)
    idle = (shown.cpu_percent or 0) < IDLE_PERCENT and (found.cpu_percent or 0) < IDLE_PERCENT
    return calm if idle and calm == shown else found


def user_facts(one: TpmUser, *, age: bool = False) -> list[Fact]:
    """The detail pane of a program that we did not start.

    Args:
        age: also show its age; not for the pane, in which it would change all the time.
    """
    since = utc(one.since) + (f", {seconds_words(one.age_s)} ago" if age else "")
    facts = [
        Fact("Program", "", f"{printable(one.name)}, process {one.pid}, not started by us"),
        Fact("User", "", printable(one.user)),
        Fact("Since", "", since),
        Fact("TPM", "", printable(one.how)),
        Fact("TLS", "", f"has loaded {one.tls}" if one.tls else "no TLS library found"),
    ]
    for link in one.connections:
        text = f"{link.local} <-> {link.remote}" if link.remote else f"listens on {link.local}"
        facts.append(Fact("TCP", "", text))
    if not one.connections:
        facts.append(Fact("TCP", "", "no connections that we can see"))
    return facts


def event_facts(event: Mapping[str, Any]) -> list[Fact]:
    """Everything that an event says, a line each."""
    facts = [Fact("time", "", str(event.get("time"))), Fact("event", "", str(event.get("event")))]
    for name, value in event.items():
        if name in ("time", "event", "next"):
            continue
        words = say(remedy_from_json(event)) if name == "remedy" else value
        parts = words.items() if isinstance(words, Mapping) else [("", words)]
        for part, text in parts:
            label = f"{name} {part}".strip()
            facts.append(Fact(printable(label), "", printable(str(text), 600)))
    return facts


def event_row(event: Mapping[str, Any]) -> str:
    """An event on a line: its time of day, its name and its text."""
    return (
        f"{str(event.get('time'))[11:19]} {event.get('event', '-')!s:<10} {event_words(event, say)}"
    )


def utc(time: str) -> str:
    """An ISO 8601 time in UTC for people to read, to the second."""
    return f"{time[:10]} {time[11:19]} UTC" if time else "-"
