"""The state of a session as seen from outside: its folder, and whether its process is running."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.directory import (
    MayNotLookError,
    SessionConfig,
    find_places,
    first_facts,
    read_facts,
    read_order,
    state_of,
)
from tpmconsole.session.launcher import last_words
from tpmconsole.session.ownership import holder_of, is_theirs, process_of
from tpmconsole.session.status import LastError, SessionStatus, State
from tpmconsole.system.processes import NoProcError, Process, boot_id

# A session that has not written its process number by now never will.
SILENT_S = 30.0


def facts_now(folder: Path, log: Path) -> SessionStatus:
    """Return a session's state now: what it last wrote, and whether its process still runs.

    Processor time and memory are left out: ``usage.with_usage`` adds them.

    Args:
        folder: the session's.
        log: the console's log, which an error names if it says more.
    """
    try:
        order = read_order(folder, with_key=False)
    except ConsoleError as damage:
        return _broken(SessionStatus(folder.name, folder.name.partition("-")[0], "", ""), damage)
    try:
        facts, is_at_work = _as_said(folder, order)
        if is_at_work or facts.state.ended:
            return facts
        # It may have written its last status after we read.
        facts, _ = read_facts(folder, order)
    except NoProcError:
        raise  # it may be running
    except ConsoleError as damage:
        closed = isinstance(damage, MayNotLookError)
        process = None if closed else holder_of(state_of(folder, order.unit))
        return _broken(first_facts(folder.name, order), damage, process)
    if facts.state.ended:
        return facts
    silence = LastError.of(ended_without_a_word(folder, log, facts.unit))
    if facts.damage:
        silence = replace(silence, cause=f"{silence.cause}; {facts.damage}")
    return facts.ended(State.FAILED, facts.since, silence)


def _as_said(folder: Path, order: SessionConfig) -> tuple[SessionStatus, bool]:
    """Return a session's own status and whether its process runs; errors as ``read_facts``."""
    facts, boot = read_facts(folder, order)
    if facts.state.ended or boot != boot_id():
        return facts, False
    state, process = state_of(folder, order.unit), process_of(facts)
    if process is None and _age_s(facts) < SILENT_S:
        return facts, True
    if process is not None and is_theirs(process, state):
        return facts, True
    holder = holder_of(state)
    if holder is None:
        return facts, False
    return replace(facts, pid=holder.pid, start_time=holder.started), True  # not the one it names


def _broken(
    facts: SessionStatus, damage: ConsoleError, process: Process | None = None
) -> SessionStatus:
    """A session whose status is damaged or unreadable for us; its process may be running."""
    if isinstance(damage, MayNotLookError):
        return replace(facts, since="", last_error=LastError.of(damage), unseen=True)
    facts = replace(facts, state=State.FAILED, last_error=LastError.of(damage))
    if process is None:
        return facts
    return replace(facts, state=State.RUNNING, pid=process.pid, start_time=process.started)


def ended_without_a_word(folder: Path, log: Path, unit: str | None = None) -> ConsoleError:
    """The error of a session whose process has ended without giving a reason.

    Args:
        unit: the systemd unit that runs it; the unit's journal then has its log.
    """
    words = "" if unit else last_words(find_places(folder).state)
    again = f"start it again; if it happens again, look at {log}"
    if unit:
        again = f"wait: systemd starts it again; if it does not: journalctl -u {unit}"
    return ConsoleError(
        "Session ended",
        "its process gave no reason" + (f"; its log ends: {words}" if words else ""),
        again,
        ExitCode.UNEXPECTED,
    )


def _age_s(facts: SessionStatus) -> float:
    try:
        began = datetime.fromisoformat(facts.started)
    except ValueError:
        return SILENT_S
    return (datetime.now(UTC) - began).total_seconds()
