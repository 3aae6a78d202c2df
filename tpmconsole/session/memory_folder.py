"""A session's folder in memory: for what it writes every second, which would wear out a flash disk.

Its folder on the disk gets a sample of that, and everything important. If there is no folder in
memory, or it is removed while the session runs (as a user's is after the last log-out), only the
folder on the disk is left.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tpmconsole.errors import ConsoleError
from tpmconsole.session.event_files import names_of
from tpmconsole.session.events import MOST_BYTES, RECENT_FILE
from tpmconsole.session.status import FILE
from tpmconsole.system.files import PRIVATE_FOLDER, write_atomic
from tpmconsole.system.mounts import is_in_memory
from tpmconsole.system.untrusted import read

RUN = Path("/run")
SHARED = Path("/dev/shm")  # noqa: S108 - what is found there is checked: see make_memory_folder
_DIGITS = 12


def choose_memory_folder(
    sessions: Path, session: str, environment: Mapping[str, str] = os.environ
) -> Path | None:
    """Return the folder in memory for a session; None if this system has no place for it.

    Args:
        sessions: the folder of all sessions; a system may have several such folders.
        session: its id.
    """
    digest = hashlib.sha256(os.fsencode(sessions.absolute())).hexdigest()[:_DIGITS]
    for place in _places(environment):
        if os.access(place, os.W_OK | os.X_OK) and is_in_memory(place):
            return place / f"tpmconsole-user-{os.geteuid()}" / f"{digest}-{session}"
    return None


def _places(environment: Mapping[str, str]) -> Iterator[Path]:
    if os.geteuid() == 0:
        yield RUN
    else:
        yield Path(environment.get("XDG_RUNTIME_DIR") or RUN / "user" / str(os.geteuid()))
    yield SHARED


def make_memory_folder(folder: Path) -> bool:
    """Make a session's folder in memory, and return whether it exists and is only ours.

    In a place that all users can write to, another user may have made a folder or link of this
    name.
    """
    try:
        return all(_make(one) for one in (folder.parent, folder))
    except OSError:
        return False


def _make(folder: Path) -> bool:
    with suppress(FileExistsError):
        folder.mkdir(mode=PRIVATE_FOLDER)
    return _is_ours(folder) and stat.S_IMODE(folder.lstat().st_mode) & 0o077 == 0


def clear_memory_folder(folder: Path | None, state: Path | None = None) -> None:
    """Remove a session's files and folder in memory, if they are ours.

    Args:
        folder: its folder in memory; None for none.
        state: the folder on the disk to copy its newest events to; None to lose them.
    """
    if folder is None or not _is_ours(folder):
        return
    # Only files of these names: a damaged order may name any folder.
    for name in (FILE, *names_of(RECENT_FILE)):
        with suppress(OSError, ConsoleError):
            if state is not None and name != FILE:
                write_atomic(state / name, read(folder / name, MOST_BYTES), durable=False)
        with suppress(OSError):
            (folder / name).unlink()
    with suppress(OSError):
        folder.rmdir()


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
