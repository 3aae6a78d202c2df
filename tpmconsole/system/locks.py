"""Locks that processes and threads hold against each other, on a file or a folder."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Self

from tpmconsole.errors import ConsoleError

_POLL_S = 0.01
_PRIVATE_FILE = 0o600  # as files.py has it, which itself locks what it writes


class FileLock:
    """An advisory lock (flock) on an open file or folder; the kernel gives it back with that.

    Args:
        descriptor: of what is locked, not locked yet.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def on_folder(cls, folder: Path) -> FileLock:
        """On the folder itself: no lock file is left behind.

        Raises:
            OSError: it cannot be opened.
        """
        return cls(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    @classmethod
    def on_file(cls, path: Path) -> FileLock:
        """On a file, which is made where it is missing.

        Raises:
            OSError: it cannot be opened.
        """
        return cls(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE))

    def try_take(self, *, shared: bool = False) -> bool:
        """Take it now, or turn it from shared into exclusive; False where another one holds it.

        Raises:
            OSError: the file system has no locks.
        """
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def take(self, busy: ConsoleError, timeout_s: float = 0.0, *, shared: bool = False) -> None:
        """Take it, where need be as soon as the other one gives it back.

        Args:
            busy: what is raised where that takes longer than ``timeout_s``.

        Raises:
            ConsoleError: ``busy``.
            OSError: the file system has no locks.
        """
        deadline = time.monotonic() + timeout_s
        while not self.try_take(shared=shared):
            if time.monotonic() >= deadline:
                raise busy
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Give it back."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
