"""Locks on a file or a folder that exclude other processes and threads."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Self

from tpmconsole.errors import ConsoleError

_POLL_S = 0.01
_PRIVATE_FILE = 0o600  # as in files.py, which imports this module


class FileLock:
    """An advisory lock (flock) on an open file or folder; the kernel releases it on closing.

    Args:
        descriptor: the file or folder to lock.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def on_folder(cls, folder: Path) -> FileLock:
        """A lock on the folder itself: no lock file is left behind.

        Raises:
            OSError: it cannot be opened.
        """
        return cls(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    @classmethod
    def on_file(cls, path: Path) -> FileLock:
        """A lock on a file, which is created if it is missing.

        Raises:
            OSError: it cannot be opened.
        """
        return cls(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE))

    def try_take(self, *, shared: bool = False) -> bool:
        """Take it now, or turn it from shared into exclusive; False if another process holds it.

        Raises:
            OSError: the file system does not support locks.
        """
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def take(self, busy: ConsoleError, timeout_s: float = 0.0, *, shared: bool = False) -> None:
        """Take it, waiting until the other process releases it.

        Args:
            busy: what is raised if that takes longer than ``timeout_s``.

        Raises:
            ConsoleError: ``busy``.
            OSError: the file system does not support locks.
        """
        deadline = time.monotonic() + timeout_s
        while not self.try_take(shared=shared):
            if time.monotonic() >= deadline:
                raise busy
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Release it."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
