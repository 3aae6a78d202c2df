"""A text with everything that support asks for; it holds no secret, and fits into a mail."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole import __version__, clock
from tpmconsole.board.doctor import examine
from tpmconsole.board.keys import list_keys
from tpmconsole.board.lines import (
    Say,
    doctor_lines,
    event_line,
    finding_json,
    key_lines,
    session_lines,
    status_lines,
)
from tpmconsole.errors import ConsoleError
from tpmconsole.inputs import parse_json
from tpmconsole.logs import redact
from tpmconsole.system.hardware import host_name, serial_number
from tpmconsole.text import printable

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.board.doctor import Finding
    from tpmconsole.identity.store import Identity

LAST_EVENTS = 20
LAST_CHANGES = 20
LAST_LOG_LINES = 60
TAIL_BYTES = 16 * 1024
LINE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Report:
    """The report, for people and programs.

    Attributes:
        text: lines of printable characters.
        data: the same for ``--json``.
    """

    text: str
    data: dict[str, Any]


def make_report(board: Board, findings: Iterable[Finding] | None = None, say: Say = str) -> Report:
    """Put the report together; a part that is not available says why instead.

    Args:
        findings: the doctor's findings, if it has already run.
        say: turns a remedy into text.
    """
    data: dict[str, Any] = {
        "time": clock.now().isoformat(timespec="seconds"),
        "host": host_name(),
        "serial": serial_number(),
        "system": platform.platform(),
        "version": __version__,
    }
    lines = [
        f"tpmconsole {__version__} report",
        *(f"{name}: {text or 'unknown'}" for name, text in data.items()),
    ]

    def part(title: str, make: Callable[[], tuple[Any, Iterable[str]]]) -> None:
        try:
            data[title], found = make()
        except OSError as error:
            data[title], found = {"error": str(error)}, [f"not available: {error}"]
        except ConsoleError as error:
            data[title], found = {"error": error.to_json()}, [f"{error} (try: {say(error.remedy)})"]
        lines.extend(["", f"== {title}", *found])

    part("doctor", lambda: _doctor(board, findings, say))
    part("status", lambda: _status(board))
    part("keys", lambda: _keys(board, say))
    part("certificates", lambda: _certificates(board))
    part("sessions", lambda: _sessions(board, say))
    part("changes", lambda: _changes(board.settings.audit))
    part("log", lambda: _log(board.settings.log))
    # Redact the joined text: a secret such as a PEM block spans several lines.
    text = redact("\n".join(printable(line, LINE_CHARACTERS) for line in lines))
    return Report(text + "\n", _redacted(data))


def _redacted(value: Any) -> Any:
    """The same value with every text in it redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _redacted(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(one) for one in value]
    return value


def _doctor(
    board: Board, findings: Iterable[Finding] | None, say: Say
) -> tuple[Any, Iterable[str]]:
    known = list(findings if findings is not None else examine(board))
    return [finding_json(one) for one in known], doctor_lines(known, say, evidence=True)


def _status(board: Board) -> tuple[Any, Iterable[str]]:
    health = board.status()
    return health.to_json(), status_lines(health)


def _keys(board: Board, say: Say) -> tuple[Any, Iterable[str]]:
    keys = list_keys(board)
    return keys.to_json(), key_lines(keys, say)


def _certificates(board: Board) -> tuple[Any, Iterable[str]]:
    found = [_certificates_of(board, identity) for identity in board.identities.all()]
    return found, [line for one in found for line in _certificate_lines(one)]


def _certificates_of(board: Board, identity: Identity) -> dict[str, Any]:
    from tpmconsole.identity.identity import kept_certificate
    from tpmconsole.x509.judge import describe
    from tpmconsole.x509.names import fingerprint

    facts: dict[str, Any] = {"identity": identity.name, "role": identity.role}
    try:
        leaf = kept_certificate(identity)
        facts["certificate"] = describe(leaf).to_json() if leaf is not None else None
        proof = identity.attestation
        if leaf is not None and identity.attested_certificate == fingerprint(leaf) and proof:
            facts["attested"] = asdict(proof)
        anchors = board.identities.trust_certificates(identity.name)
        facts["trust"] = [describe(one).to_json() for one in anchors]
    except ConsoleError as error:
        facts["error"] = error.to_json()
    return facts


def _certificate_lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"-- {facts['identity']}, {facts['role'] or 'no role yet'}"
    if facts.get("error"):
        yield f"{facts['error']['title']}: {facts['error']['cause']}"
    if facts.get("certificate"):
        yield from _one_certificate("certificate", facts["certificate"])
    if proof := facts.get("attested"):
        yield f"attested: {proof['when']}, {proof['chip']}, EK {proof['endorsement']}"
    for anchor in facts.get("trust", ()):
        yield from _one_certificate("trusts", anchor)


def _one_certificate(label: str, one: dict[str, Any]) -> Iterator[str]:
    yield f"{label}: {one['subject']}, by {one['issuer']}, serial {one['serial']}"
    yield f"  {one['not_before']} to {one['not_after']}; {', '.join(one['san']) or 'no names'}"
    yield f"  SHA-256 {one['fingerprint']}"


def _sessions(board: Board, say: Say) -> tuple[Any, Iterable[str]]:
    data: list[dict[str, Any]] = []
    lines: list[str] = []
    sessions = board.sessions.list(usage=True)
    for one in sessions:
        events = _last_events(board, one.id)
        data.append(one.to_json() | {"events": events})
        lines += [f"-- {one.id}", *(event_line(event, say) for event in events)]
    return data, [*session_lines(sessions), *lines]


def _last_events(board: Board, session: str) -> list[dict[str, Any]]:
    """A session's last events, or why they cannot be read: the other sessions still follow."""
    try:
        return list(deque(board.sessions.events(session), LAST_EVENTS))
    except (OSError, ConsoleError) as error:
        return [{"time": "-", "event": "not available", "why": str(error)}]


def _changes(audit: Path) -> tuple[Any, Iterable[str]]:
    """The last lines of the record of changes."""
    lines = _tail(audit)[-LAST_CHANGES:]
    known = []
    for line in lines:
        try:
            known.append(parse_json(line))
        except ValueError:
            continue  # cut off because we read only the last part of the file
    return known, lines


def _log(path: Path) -> tuple[Any, Iterable[str]]:
    lines = [printable(line, LINE_CHARACTERS) for line in _tail(path)[-LAST_LOG_LINES:]]
    return lines, lines


def _tail(path: Path) -> list[str]:
    """The last lines of a file, redacted; an empty list if there is no file yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return redact(file.read(TAIL_BYTES).decode("utf-8", "replace")).splitlines()
    except FileNotFoundError:
        return []
