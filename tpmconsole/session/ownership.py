"""Which process is a session's: only that one may be signalled on its behalf.

A session writes its own process number, and one that was taken over may write another number or
none. So the kernel is asked first: a session's process holds a lock on a file in its folder as
long as it runs, and was started with that folder on its command line.
"""

from __future__ import annotations

import os
from pathlib import Path

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.status import SessionStatus
from tpmconsole.system.locks import FileLock
from tpmconsole.system.processes import Process, start_time, with_arguments
from tpmconsole.system.untrusted import open_to_append, open_to_read, owner_of

LOCK_FILE = "lock"
PROGRAM = "tpmconsole.session.process"
_LOCKS = Path("/proc/locks")
# Since systemd 257 the state folder of a dynamic user is mapped: outside the service its owner is
# always `nobody`. These are the ids that systemd assigns (systemd.exec(5)).
_NOBODY = 65534
_DYNAMIC_USERS = range(61184, 65520)
# Other processes hold it briefly while they check whether it is held.
_LOCK_S = 5.0


def hold_lock(folder: Path) -> FileLock:
    """Declare this process to be the session's, until it ends.

    Args:
        folder: the session's state folder.

    Raises:
        ConsoleError: another process is the session's.
        OSError: the lock file cannot be made.
    """
    lock = FileLock(open_to_append(folder / LOCK_FILE))
    busy = ConsoleError(
        "Session runs already",
        f"another process is the session of {folder}",
        "end that process first",
        ExitCode.UNEXPECTED,
    )
    try:
        lock.take(busy, _LOCK_S)
    except OSError:
        return lock  # a file system without locks: then no process can check it either
    except ConsoleError:
        lock.close()
        raise
    return lock


def is_lock_held(folder: Path) -> bool:
    """Whether a process has declared itself to be this session's."""
    try:
        file = open_to_read(folder / LOCK_FILE)
    except OSError:
        return False
    with file:
        try:
            return not FileLock(file.fileno()).try_take(shared=True)
        except OSError:
            return True  # a file system without locks: the other checks must suffice


def process_of(facts: SessionStatus) -> Process | None:
    """Return the process that a session last said it was; None before it said so."""
    if facts.pid is None or facts.start_time is None:
        return None
    return Process(facts.pid, facts.start_time)


def find_process(folder: Path, state: Path) -> Process | None:
    """Return a session's process, whatever its status says; None if none can be found.

    Args:
        folder: the session's, with its order.
        state: its state folder.
    """
    return holder_of(state) or _started_with(folder, state)


def holder_of(state: Path) -> Process | None:
    """Return the process of the state folder's owner that holds the session's lock."""
    try:
        pid = _holder(state / LOCK_FILE)
        process = None if pid is None else Process(pid, start_time(pid))
    except OSError:
        return None
    return process if process is not None and is_theirs(process, state) else None


def _started_with(folder: Path, state: Path) -> Process | None:
    """The process that was started for a session, if its lock is gone; not for a service."""
    argument = os.fsencode(folder)
    found = (one for one in with_arguments(PROGRAM.encode(), argument) if is_theirs(one, state))
    return next(found, None)


def is_theirs(process: Process, folder: Path) -> bool:
    """Whether a process is alive and belongs to the user who owns a session's folder."""
    try:
        owner = owner_of(folder)
        if owner == _NOBODY:
            return process.user() in _DYNAMIC_USERS and _holder(folder / LOCK_FILE) == process.pid
    except OSError:
        return False
    return process.belongs_to(owner)


def _holder(file: Path) -> int | None:
    """The process that has a lock on a file, by the kernel's own list; None for none.

    Raises:
        OSError: the file or the list cannot be read.
    """
    found = file.lstat()
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in _LOCKS.read_text(encoding="ascii", errors="replace").splitlines():
        words = line.split()  # proc_locks(5)
        # WRITE: a process that only checks whether it is held takes it shared.
        if len(words) > 5 and words[1::2][:3] == ["FLOCK", "WRITE", device]:
            return int(words[4])
    return None


def check_is_its_own(process: Process, folder: Path, session: str) -> None:
    """Refuse to signal a process that is not this session's, whatever the session says.

    Raises:
        ConsoleError: it is not.
    """
    if not process.alive or (is_theirs(process, folder) and is_lock_held(folder)):
        return
    raise ConsoleError(
        "Not this session's process",
        f"{session} says it is process {process.pid}, which is not its own",
        f"leave that alone; find the session's own: fuser {folder / LOCK_FILE}",
        ExitCode.UNEXPECTED,
    )
