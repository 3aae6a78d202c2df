"""Answers as lines of text, for commands and for the support report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tpmconsole.board.phrases import (
    auth_word,
    chip_words,
    encryption_words,
    hierarchy_words,
    lockout_words,
    mode_words,
    room_words,
    self_test_words,
)
from tpmconsole.errors import Remedy, remedy_from_json, remedy_to_json
from tpmconsole.text import printable
from tpmconsole.tpm.model import TpmHealth

Say = Callable[[Remedy], str]

if TYPE_CHECKING:
    from tpmconsole.board.doctor import Finding
    from tpmconsole.board.keys import KeyList
    from tpmconsole.session.status import SessionStatus


def status_lines(health: TpmHealth) -> Iterator[str]:
    """What a TPM says about itself, a line for each fact."""
    marked = "  SIMULATED" if health.simulated else ""
    rows = [
        ("TPM", f"{chip_words(health)}{marked}"),
        ("Firmware", f"{health.firmware}, specification {health.family} rev {health.revision}"),
        ("TCTI", f"{health.tcti} ({health.tcti_why})"),
        ("Mode", health.mode),
        ("Self-test", self_test_words(health.self_test)),
        ("Lock-out", lockout_words(health.lockout)),
        ("Hierarchies", hierarchy_words(health.hierarchies)),
        ("Encryption", encryption_words(health.encrypted_sessions)),
        ("Persistent", room_words(health.persistent)),
        ("Transient", room_words(health.transient)),
        ("Algorithms", ", ".join(health.algorithms)),
        ("Curves", ", ".join(health.curves)),
        ("PCR banks", " ".join(health.pcrs)),
    ]
    if health.clock:
        clock = health.clock
        rows.append(("Resets", f"{clock.reset_count}, restarts {clock.restart_count}"))
    for label, text in rows:
        yield f"{label:<12} {text or '-'}"


def key_lines(keys: KeyList, say: Say = str) -> Iterator[str]:
    """Key files and persistent keys in a table.

    Args:
        say: words for a remedy.
    """
    rows = [("WHERE", "ALGORITHM", "PASSWORD", "IDENTITY", "WHAT")]
    for file in keys.files:
        notes = [file.reason or file.description or file.kind.value]
        notes += ["IMPORTED"] if file.origin == "imported" else []
        notes += [words] if (words := mode_words(file.mode)) else []
        what = "; ".join(notes)
        rows.append(
            (
                printable(file.path),
                file.algorithm or "-",
                auth_word(file.auth),
                file.identity or "-",
                what,
            )
        )
    for key in keys.persistent:
        what = f"{key.purpose}; {key.reason}" if key.reason else key.purpose
        what += "; IMPORTED" if key.origin == "imported" else ""
        rows.append(
            (key.handle, key.algorithm or "-", auth_word(key.auth), key.identity or "-", what)
        )
    yield from table(rows)
    if keys.room:
        yield f"persistent keys: {room_words(keys.room)}"
    if keys.no_tpm:
        yield f"persistent handles: {keys.no_tpm} (try: {say(keys.no_tpm.remedy)})"


# An error event has a title, a cause and a remedy, each bounded when the session writes it.
EVENT_CHARACTERS = 2000


def session_lines(sessions: Sequence[SessionStatus]) -> Iterator[str]:
    """Sessions in a table."""
    if not sessions:
        yield "no sessions"
        return
    rows = [("ID", "STATE", "IDENTITY", "ADDRESS", "ENGINE", "TLS", "MESSAGES")]
    for one in sessions:
        version = one.protocol_version or "-"
        rows.append(
            (
                one.id,
                one.word,
                one.identity,
                one.address,
                one.engine,
                version,
                str(one.messages),
            )
        )
    yield from table(rows)


def event_line(event: Mapping[str, Any], say: Say = str) -> str:
    """An event of a session: its time, its name and what it says."""
    return (
        f"{event.get('time', '-')} {event.get('event', '-'):<10} {event_words(event, say)}".rstrip()
    )


def event_words(event: Mapping[str, Any], say: Say = str) -> str:
    """What an event says, after its time and its name."""
    peer = (event.get("peer") or {}).get("subject")
    known = {
        "started": "engine {engine}, process {pid}",
        "handshake": "{protocol_version} {cipher}, peer {subject}, {ms} ms",
        "message": "{text} -> {answer}, {ms} ms",
        "error": "{title}: {cause}; try: {remedy}",
        "reloaded": "certificate {subject}, until {not_after}",
        "engine": "{engine} from now on: {why}",
    }.get(str(event.get("event")))
    if known:
        try:
            more = {"subject": peer or event.get("subject"), "remedy": say(remedy_from_json(event))}
            return printable(known.format(**{**event, **more}), EVENT_CHARACTERS)
        except KeyError:  # written by another release: shown as it is
            pass
    facts = (
        f"{name}={value}" for name, value in event.items() if name not in ("time", "event", "next")
    )
    return printable(" ".join(facts), EVENT_CHARACTERS)


def doctor_lines(
    findings: Iterable[Finding], say: Say = str, *, evidence: bool = False
) -> Iterator[str]:
    """The findings of an examination.

    Args:
        evidence: also for findings that are OK; the others always have it.
    """
    for one in findings:
        yield f"{one.state.upper():<7} {one.name:<12} {one.text}"
        if evidence or one.state in ("warn", "fail"):
            yield from (f"{'':<20} seen: {line}" for line in one.evidence)
        if one.remedy:
            yield f"{'':<20} try: {say(one.remedy)}"


def finding_json(finding: Finding) -> dict[str, Any]:
    """The finding of a probe as ``doctor --json`` prints it (contract)."""
    words = {"probe": finding.name, "state": finding.state, "finding": finding.text}
    return words | {"evidence": list(finding.evidence)} | remedy_to_json(finding.remedy)


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of text in columns; the last column keeps its length."""
    shown = [[printable(text) for text in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]) - 1)]
    for row in shown:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()
