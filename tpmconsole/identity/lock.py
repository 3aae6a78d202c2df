"""One process at a time changes a folder, and what a crash left in it goes away."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tpmconsole.errors import ConsoleError
from tpmconsole.files import cannot_write

LEFTOVER_AGE_S = 3600.0
LOCK_WAIT_S = 2.0
_LOCK_RETRY_S = 0.05


@contextmanager
def exclusive(folder: Path, name: str) -> Iterator[None]:
    """Hold the folder's advisory lock (flock on the folder itself: no lock file to leave behind).

    Raises:
        ConsoleError: another process still holds it after two seconds.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        _wait_for_lock(descriptor, name)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, name: str) -> None:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise ConsoleError(
                    "Identity is in use",
                    f"another process is changing '{name}'",
                    "wait until it is done, then try again",
                ) from error
            time.sleep(_LOCK_RETRY_S)
        else:
            return


def remove_leftovers(folder: Path) -> None:
    """Remove what a crash left unfinished; nothing younger, another process may be at it."""
    oldest = time.time() - LEFTOVER_AGE_S
    for path in folder.glob(".*"):
        try:
            if path.lstat().st_mtime > oldest:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:  # somebody else was faster, or it stays: it is in nobody's way
            continue
