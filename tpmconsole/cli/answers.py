"""Answers in lines of text, for people who read a command's output."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tpmconsole.board.phrases import (
    auth_word,
    chip_words,
    hierarchy_words,
    lockout_words,
    mode_words,
    room_words,
    seconds_words,
    self_test_words,
)
from tpmconsole.text import printable
from tpmconsole.tpm.model import SelfTest, TpmHealth

if TYPE_CHECKING:
    from tpmconsole.board.doctor import Finding
    from tpmconsole.board.keys import KeyList
    from tpmconsole.board.tour.story import Outcome
    from tpmconsole.session.status import SessionStatus
    from tpmconsole.session.usage import TpmUser
    from tpmconsole.x509.judge import CertificateInfo, Verdict


LINE = 78

FACT_CHARACTERS = 1000


def status_lines(health: TpmHealth) -> Iterator[str]:
    """``tpmconsole status``."""
    marked = "  SIMULATED" if health.simulated else ""
    rows = [
        ("TPM", f"{chip_words(health)}{marked}"),
        ("Firmware", f"{health.firmware}, specification {health.family} rev {health.revision}"),
        ("TCTI", f"{health.tcti} ({health.tcti_why})"),
        ("Mode", health.mode),
        ("Self-test", self_test_words(health.self_test)),
        ("Lock-out", lockout_words(health.lockout)),
        ("Hierarchies", hierarchy_words(health.hierarchies)),
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
        yield f"{label:<12} {text}"


def self_test_lines(result: SelfTest) -> Iterator[str]:
    """``tpmconsole selftest``."""
    yield self_test_words(result)
    if result.data:
        yield f"test result bytes: {result.data}"


def key_lines(keys: KeyList) -> Iterator[str]:
    """``tpmconsole keys``."""
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
        rows.append((key.handle, key.algorithm, auth_word(key.auth), key.identity or "-", what))
    yield from table(rows)
    if keys.room:
        yield f"persistent keys: {room_words(keys.room)}"
    if keys.no_tpm:
        yield f"persistent handles: {keys.no_tpm} (try: {keys.no_tpm.remedy})"


def verdict_lines(
    name: str,
    verdicts: Iterable[Verdict],
    installed: bool,
    added: Sequence[CertificateInfo] = (),
    *,
    changed: bool = True,
) -> Iterator[str]:
    """``tpmconsole import``.

    Args:
        added: the trust anchors that are new.
        changed: False where what was to be installed is there already.
    """
    for one in verdicts:
        yield f"{one.verdict.upper():<5} {one.check}: {one.text}"
        if one.verdict != "ok" and one.remedy:
            yield f"      try: {one.remedy}"
    for anchor in added:
        which = "trusted from now on" if installed else "would be trusted"
        yield f"{which}: {anchor_words(anchor)}"
    what = "installed" if changed else "unchanged: it is installed already"
    yield f"{name}: certificate {what if installed else 'not installed'}"


def anchor_words(anchor: CertificateInfo) -> str:
    """A trust anchor in a sentence."""
    return f"{anchor.subject}, SHA-256 {anchor.fingerprint}{anchor.trusted_for}"


def anchor_lines(anchors: Sequence[CertificateInfo]) -> Iterator[str]:
    """``tpmconsole trust``."""
    for one in anchors:
        yield f"{one.subject}, until {one.not_after:%Y-%m-%d}{one.trusted_for}"
        yield f"  SHA-256 {one.fingerprint}"
    if not anchors:
        yield "no trust anchors: add the CA of its peers with --add FILE"


def session_lines(sessions: Sequence[SessionStatus]) -> Iterator[str]:
    """``tpmconsole session list``."""
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


def session_facts_lines(facts: SessionStatus) -> Iterator[str]:
    """``tpmconsole session show``; the state is told as in the list."""
    for label, value in (facts.to_json() | {"state": facts.word}).items():
        if isinstance(value, Mapping):
            known = ((name, _fact_words(one)) for name, one in value.items())
            text = ", ".join(f"{name} {one}" for name, one in known if one != "-") or "-"
        else:
            text = _fact_words(value)
        yield f"{label:<17} {printable(text, FACT_CHARACTERS)}"


def _fact_words(value: Any) -> str:
    """A value of the JSON for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def user_lines(users: Sequence[TpmUser]) -> Iterator[str]:
    """``tpmconsole session users``."""
    if not users:
        yield "no other program uses the TPM"
        return
    rows = [("PID", "PROGRAM", "USER", "AGE", "TLS", "TPM")]
    for one in users:
        age = seconds_words(one.age_s)
        name, user, how = printable(one.name), printable(one.user), printable(one.how)
        rows.append((str(one.pid), name, user, age, one.tls or "-", how))
        for link in one.connections:
            where = f"{link.local} <-> {link.remote}" if link.remote else f"listens on {link.local}"
            rows.append(("", "", "", "", "", where))
    yield from table(rows)


def event_line(event: Mapping[str, Any]) -> str:
    """One line of ``tpmconsole session events``."""
    return f"{event.get('time', '-')} {event.get('event', '-'):<10} {event_words(event)}".rstrip()


def event_words(event: Mapping[str, Any]) -> str:
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
            return printable(known.format(**{**event, "subject": peer or event.get("subject")}))
        except KeyError:  # written by another release: told as it is
            pass
    facts = (f"{name}={value}" for name, value in event.items() if name not in ("time", "event"))
    return printable(" ".join(facts))


def doctor_lines(findings: Iterable[Finding], *, evidence: bool = False) -> Iterator[str]:
    """``tpmconsole doctor``.

    Args:
        evidence: also of what is well; of what is not, it is always told.
    """
    for one in findings:
        yield f"{one.state.upper():<7} {one.probe:<12} {one.finding}"
        if evidence or one.state in ("warn", "fail"):
            yield from (f"{'':<20} seen: {line}" for line in one.evidence)
        if one.remedy:
            yield f"{'':<20} try: {one.remedy}"


def tour_lines(done: Iterable[tuple[int, Outcome]]) -> Iterator[str]:
    """``tpmconsole tour``: each step as it is done."""
    from tpmconsole.board.tour.story import STEPS, TITLE, WELCOME

    yield TITLE
    for text in WELCOME:
        yield ""
        yield from textwrap.wrap(text, LINE)
    for index, outcome in done:
        step = STEPS[index]
        yield ""
        yield f"{index + 1} of {len(STEPS)}  {step.title}"
        yield from textwrap.wrap(step.text, LINE)
        yield from outcome.diagram
        for one in outcome.shown:
            first, *more = textwrap.wrap(one.text, LINE - 26) or [""]
            yield f"  {one.label:<13} {one.state:<9} {first}".rstrip()
            yield from (f"{'':<26}{text}" for text in more)


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of text in columns; the last column keeps its length."""
    shown = [[printable(text) for text in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]) - 1)]
    for row in shown:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()
