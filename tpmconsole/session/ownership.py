"""Which process is a session's: the only one that may be signalled in its name.

A session says its own process number, and one that was taken over may say another one's. Three
things it cannot make up: whom that process belongs to, when it began, and the lock that a session's
process holds on a file of its folder as long as it lives.
"""

from __future__ import annotations

from pathlib import Path

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.status import SessionStatus
from tpmconsole.system.locks import FileLock
from tpmconsole.system.processes import Process
from tpmconsole.system.untrusted import open_to_append, open_to_read, owner_of

LOCK_FILE = "lock"
# Others hold it for the moment in which they look whether it is held.
_LOCK_S = 5.0


def hold_lock(folder: Path) -> FileLock:
    """Say that we are this session's process, until we end.

    Args:
        folder: where the session says how it is.

    Raises:
        ConsoleError: another process is it.
        OSError: the lock file cannot be made.
    """
    lock = FileLock(open_to_append(folder / LOCK_FILE))
    busy = ConsoleError(
        "Session runs already",
        f"another process is the session of {folder}",
        "end that one first",
        ExitCode.UNEXPECTED,
    )
    try:
        lock.take(busy, _LOCK_S)
    except OSError:
        return lock  # a file system without locks: then nobody can ask for it either
    except ConsoleError:
        lock.close()
        raise
    return lock


def is_lock_held(folder: Path) -> bool:
    """Whether some process says that it is this session's."""
    try:
        file = open_to_read(folder / LOCK_FILE)
    except OSError:
        return False
    with file:
        try:
            return not FileLock(file.fileno()).try_take(shared=True)
        except OSError:
            return True  # a file system without locks: all else has to do


def process_of(facts: SessionStatus) -> Process | None:
    """The process that a session last said it was; None before it said so."""
    if facts.pid is None or facts.start_time is None:
        return None
    return Process(facts.pid, facts.start_time)


def is_theirs(process: Process, folder: Path) -> bool:
    """Whether a process is alive, and of the user who owns a session's folder."""
    try:
        return process.belongs_to(owner_of(folder))
    except OSError:
        return False


def check_is_its_own(process: Process, folder: Path, session: str) -> None:
    """Refuse to signal a process that is not this session's, whatever the session says.

    Raises:
        ConsoleError: it is not.
    """
    if not process.alive or (is_theirs(process, folder) and is_lock_held(folder)):
        return
    raise ConsoleError(
        "Not this session's process",
        f"{session} says it is process {process.pid}, which is another one's",
        f"leave that alone; look for the session's own: fuser {folder / LOCK_FILE}",
        ExitCode.UNEXPECTED,
    )
