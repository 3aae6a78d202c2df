"""Opens files that a less privileged user can write: only if they are plain files of that user.

The owner of a folder chooses what is in it. A link there would make us read, or append to, a file
that the owner cannot; a pipe would block us forever; a hard link may be another user's file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from tpmconsole.system.files import PRIVATE_FILE

_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class NotTheirFileError(OSError):
    """It is not a file of the folder's owner but a link, a pipe or another user's file."""


def open_to_read(path: Path) -> BinaryIO:
    """Open a file that belongs to the owner of its folder, for reading.

    Raises:
        NotTheirFileError: it is something else.
        OSError: it is missing, or cannot be opened.
    """
    return os.fdopen(_open(path, os.O_RDONLY), "rb")


def read(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of such a file; errors as ``open_to_read``."""
    with open_to_read(path) as file:
        return file.read(limit)


def read_end(path: Path, limit: int) -> bytes:
    """The last ``limit`` bytes of such a file; errors as ``open_to_read``."""
    with open_to_read(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
        return file.read(limit)


def open_to_append(path: Path) -> int:
    """The descriptor of such a file, created if it is missing; errors as ``open_to_read``."""
    return _open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def owner_of(folder: Path) -> int:
    """The user id of the folder's owner.

    Raises:
        OSError: there is no such folder.
    """
    return folder.stat().st_uid


def _open(path: Path, flags: int) -> int:
    # Just opening a device can have an effect; but only root can create one.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = _open_in(folder, path, flags)
    finally:
        os.close(folder)
    return descriptor


def _open_in(folder: int, path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path.name, flags | _SAFELY, PRIVATE_FILE, dir_fd=folder)
    except OSError as error:
        # ELOOP: a link; ENXIO: a pipe without a reader, or a socket.
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _not_theirs(path, error.errno) from error
        raise
    found, theirs = os.fstat(descriptor), os.fstat(folder)
    # A file that was just replaced has no name left; one with two may be another user's.
    if stat.S_ISREG(found.st_mode) and found.st_uid == theirs.st_uid and found.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise _not_theirs(path, errno.EPERM)


def _not_theirs(path: Path, number: int) -> NotTheirFileError:
    return NotTheirFileError(number, "it is not a plain file of its folder's owner", str(path))
