"""Files that are private, and whole or not there at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from tpmconsole.errors import ConsoleError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PUBLIC_FILE = 0o644


def make_private_folder(folder: Path) -> Path:
    """Make a folder (and its parents) that only its owner may enter.

    Raises:
        ConsoleError: it cannot be made.
    """
    try:
        # Not parents=True: that makes the parents with the mode of any folder.
        if not folder.parent.exists():
            make_private_folder(folder.parent)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def write_atomic(
    path: Path, data: bytes, mode: int = PRIVATE_FILE, *, durable: bool = True
) -> None:
    """Write a file so that after a power cut it holds its old content or all of the new.

    Args:
        mode: the file's permissions; a file system that has none (FAT) keeps its own.
        durable: False for facts that are written again and again and mean nothing after a power
            cut: whole for every reader, but not forced to the disk each time.

    Raises:
        ConsoleError: it cannot be written; what was there before is unchanged.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if mode != PRIVATE_FILE:  # which mkstemp has made it already
                    with suppress(PermissionError):
                        os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes; never opens a device, fifo or socket.

    Raises:
        ConsoleError: it is missing, no regular file, too large, or may not be read.
    """
    try:
        # Opening alone may do something to a device, such as rewinding a tape.
        if not stat.S_ISREG(path.stat().st_mode):
            raise _cannot_read(path, "it is not a regular file")
        # O_NONBLOCK: were it a fifo by now, opening would wait for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _cannot_read(path, "it is not a regular file")
            if status.st_size > limit:
                raise _cannot_read(path, f"it has {status.st_size} bytes, more than {limit}")
            # None: a file of /proc that would wait for content, such as /proc/kmsg.
            return file.read(limit) or b""
    except OSError as error:
        raise _cannot_read(path, error.strerror or str(error)) from error


def _cannot_read(path: Path, why: str) -> ConsoleError:
    return ConsoleError("File not read", f"{path}: {why}", "check the path and its permissions")


def cannot_write(path: Path, error: OSError) -> ConsoleError:
    """A failed write in words."""
    return ConsoleError(
        "Not written",
        f"{path}: {error.strerror or error}",
        "check the folder's owner, free space (df) and whether the disk is read-only",
    )
