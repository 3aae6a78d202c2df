"""How a session is, as those outside it see: its folder, and whether its process is alive."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.directory import (
    MayNotLookError,
    find_state,
    first_facts,
    read_facts,
    read_order,
    state_of,
)
from tpmconsole.session.launcher import last_words
from tpmconsole.session.ownership import is_theirs, process_of
from tpmconsole.session.status import LastError, SessionStatus, State
from tpmconsole.system.processes import boot_id

# A session that has not told its process number by now never will.
SILENT_S = 30.0


def facts_now(folder: Path, log: Path) -> SessionStatus:
    """A session as it is now: what it last wrote, and whether its process is still there.

    What it costs is left out: ``usage.with_usage`` adds that.

    Args:
        folder: the session's.
        log: the console's log, named to the user where it tells more.
    """
    try:
        return _looked(folder, log)
    except MayNotLookError as closed:
        return replace(_told(folder), since="", last_error=LastError.of(closed), unseen=True)
    except ConsoleError as damage:
        return replace(_bare(folder), state=State.FAILED, last_error=LastError.of(damage))


def _looked(folder: Path, log: Path) -> SessionStatus:
    """The same for a session whose files can be read.

    Raises:
        ConsoleError: they cannot.
    """
    order = read_order(folder, with_key=False)
    state = state_of(folder, order.unit)
    facts, boot = read_facts(folder, order)
    if facts.state.ended:
        return facts
    this_boot = boot == boot_id()
    process = process_of(facts)
    if this_boot and process is not None and is_theirs(process, state):
        return facts
    if this_boot and process is None and _age_s(facts) < SILENT_S:
        return facts
    # What it wrote as its last may have come after we read.
    facts, _ = read_facts(folder, order)
    if facts.state.ended:
        return facts
    silence = ended_without_a_word(folder, log, facts.unit)
    return facts.ended(State.FAILED, facts.since, LastError.of(silence))


def _told(folder: Path) -> SessionStatus:
    """What a session was told, as far as we may look."""
    try:
        return first_facts(folder.name, read_order(folder, with_key=False))
    except ConsoleError:
        return _bare(folder)


def _bare(folder: Path) -> SessionStatus:
    return SessionStatus(folder.name, folder.name.partition("-")[0], "", "")


def ended_without_a_word(folder: Path, log: Path, unit: str | None = None) -> ConsoleError:
    """What there is to say of a session whose process is gone and has not said why.

    Args:
        unit: the systemd unit that runs it, whose journal then has its log.
    """
    words = "" if unit else last_words(find_state(folder))
    again = f"start it again; if it happens again, look into {log}"
    if unit:
        again = f"wait: systemd starts it again; where it does not: journalctl -u {unit}"
    return ConsoleError(
        "Session ended",
        "its process ended without a word" + (f"; its log ends: {words}" if words else ""),
        again,
        ExitCode.UNEXPECTED,
    )


def _age_s(facts: SessionStatus) -> float:
    try:
        began = datetime.fromisoformat(facts.started)
    except ValueError:
        return SILENT_S
    return (datetime.now(UTC) - began).total_seconds()
