"""One process at a time changes a folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tpmconsole.errors import ConsoleError
from tpmconsole.system.files import cannot_write

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
