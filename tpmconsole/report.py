"""One text with everything support asks for; nothing in it is secret."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tpmconsole.answers import doctor_lines, event_line, key_lines, session_lines, status_lines
from tpmconsole.doctor import examine
from tpmconsole.errors import ConsoleError
from tpmconsole.logs import redact

if TYPE_CHECKING:
    from tpmconsole.board import Board

LAST_EVENTS = 20
LAST_LOG_LINES = 60
LOG_TAIL_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Report:
    text: str
    data: dict[str, Any]


def make_report(board: Board) -> Report:
    """Put the report together; a part that cannot be had says why in its place."""
    data: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
    }
    parts = [f"tpmconsole report, {data['host']}, {data['time']}"]

    def part(title: str, make: Callable[[], tuple[Any, list[str]]]) -> None:
        try:
            data[title], lines = make()
        except OSError as error:
            data[title], lines = {"error": str(error)}, [f"not to be had: {error}"]
        except ConsoleError as error:
            data[title], lines = {"error": error.to_json()}, [f"{error} (try: {error.remedy})"]
        parts.extend(["", f"== {title}", *lines])

    part("doctor", lambda: _doctor(board))
    part("status", lambda: _status(board))
    part("keys", lambda: _keys(board))
    part("sessions", lambda: _sessions(board))
    part("log", lambda: _log(board))
    return Report(redact("\n".join(parts)) + "\n", data)


def _doctor(board: Board) -> tuple[Any, list[str]]:
    findings = examine(board)
    return [one.to_json() for one in findings], list(doctor_lines(findings))


def _status(board: Board) -> tuple[Any, list[str]]:
    health = board.status()
    return health.to_json(), list(status_lines(health))


def _keys(board: Board) -> tuple[Any, list[str]]:
    keys = board.keyring.list()
    return keys.to_json(), list(key_lines(keys))


def _sessions(board: Board) -> tuple[Any, list[str]]:
    sessions = board.sessions.list()
    lines = list(session_lines(sessions))
    for one in sessions:
        events = list(board.sessions.events(one.id))[-LAST_EVENTS:]
        lines += [f"-- {one.id}", *(event_line(event) for event in events)]
    return [one.to_json() for one in sessions], lines


def _log(board: Board) -> tuple[Any, list[str]]:
    try:
        with board.settings.log.open("rb") as file:
            file.seek(max(0, board.settings.log.stat().st_size - LOG_TAIL_BYTES))
            lines = redact(file.read().decode("utf-8", "replace")).splitlines()[-LAST_LOG_LINES:]
    except FileNotFoundError:
        lines = []
    return lines, lines
