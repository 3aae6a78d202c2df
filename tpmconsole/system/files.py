"""Writes files that are private, and either complete or missing."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.settings import Settings
from tpmconsole.system.locks import FileLock

# Prefix of unfinished work, including what a crash left behind; no one else uses it.
UNFINISHED = ".tpmconsole-unfinished-"
_REMEDIES = {
    errno.ENOSPC: "free some space there (df shows how much), then try again",
    errno.EDQUOT: "free some space: this user's disk quota is used up",
    errno.EROFS: "mount the disk writable (mount -o remount,rw); dmesg says if it is damaged",
    errno.EIO: "check what dmesg says about the disk, and replace it",
    errno.EMFILE: "close some sessions or pages, or raise the limit of open files (ulimit -n)",
    errno.ENFILE: "end programs that have many files open, or raise fs.file-max (sysctl)",
    errno.EACCES: "check the owner and the permissions there (ls -l)",
    errno.EPERM: "check the owner and the permissions there (ls -l)",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "correct the path: a part of it is a file, not a folder",
    errno.ENOMEM: "end programs that use much memory",
    errno.EAGAIN: "end programs of this user: its limit of processes is reached",
}

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PUBLIC_FILE = 0o644


def make_private_folder(folder: Path) -> Path:
    """Make a folder (and its parents) that only its owner may enter.

    Raises:
        ConsoleError: it cannot be made.
    """
    try:
        # Not parents=True, which would give the parents the default mode.
        if not folder.parent.exists():
            make_private_folder(folder.parent)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def write_atomic(
    path: Path, data: bytes, mode: int = PRIVATE_FILE, *, durable: bool = True
) -> None:
    """Write a file so that after a power cut it has its old content or all of the new.

    Args:
        mode: the file's permissions; ignored by a file system without permissions (FAT).
        durable: False for state that is rewritten often and means nothing after a power cut:
            complete for every reader, but not forced to the disk each time.

    Raises:
        ConsoleError: it cannot be written; the old file is unchanged.
    """
    try:
        descriptor, temporary = _new_temporary(path)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if mode != PRIVATE_FILE:  # the mode that mkstemp gave it
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


def write_out(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Write a file where the user said: a new one, or in place of a regular one.

    Anything else would itself be replaced, and root would lose /dev/null or /dev/stdout (a link).
    Links are not followed: in a folder that others can write, they would choose what root
    overwrites.

    Raises:
        ConsoleError: as ``write_atomic``, or what has this name is not a file.
    """
    with suppress(OSError):  # writing it will report the error
        kind = path.lstat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            what = "a link" if stat.S_ISLNK(kind) else "a device, pipe or socket"
            raise ConsoleError(
                "Not written",
                f"{path}: it is {what}, which the file would replace",
                NextStep(Action.WRITE_OUT, text="name the file itself; {}"),
            )
    write_atomic(path, data, mode)


def _new_temporary(path: Path) -> tuple[int, str]:
    """A temporary file beside ``path``, open, and claimed until it is closed."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)
        if _claim(descriptor):
            return descriptor, name
        os.close(descriptor)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A private folder beside ``path`` to fill and rename to it; removed if that fails.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=path.parent))
        with suppress(FileNotFoundError):  # another process is cleaning up
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if _claim(descriptor):
                break
            os.close(descriptor)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def _claim(descriptor: int) -> bool:
    """Lock what was just made, so that no process removes it as a leftover; False if one did."""
    try:
        if not FileLock(descriptor).try_take():
            return False
    except OSError:
        return True  # a file system without locks: no process can claim it to remove it
    return os.fstat(descriptor).st_nlink > 0


def remove_leftovers(folder: Path) -> None:
    """Remove what a crash left unfinished; never what is still in use, whatever the clock says."""
    for path in folder.glob(f"{UNFINISHED}*"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue  # another process was faster, or it remains, which does no harm
        try:
            if not FileLock(descriptor).try_take():
                continue  # it is being written
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:  # it remains, which does no harm
            continue
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file so that it stays removed after a power cut; it may be missing.

    Raises:
        ConsoleError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_folder(folder: Path) -> None:
    """Remove a folder that the caller has locked; after a crash it is complete, or a leftover.

    Raises:
        OSError: it cannot be removed.
    """
    gone = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    folder.rename(gone)  # replaces an empty folder: rename(2)
    sync_folder(folder.parent)
    shutil.rmtree(gone)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_mode(path: Path, mode: int) -> None:
    """Change the mode of a file or folder that we own.

    Uses a descriptor: nothing can be put in its place between the check and the change.

    Raises:
        OSError: it cannot be changed, is a link (ELOOP), is something else, or is another user's.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise OSError(errno.EINVAL, "it is neither a file nor a folder", str(path))
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", str(path))
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes; never opens a device, fifo or socket.

    Raises:
        ConsoleError: it is missing, not a regular file, too large, or not readable.
    """
    try:
        # Just opening a device can have an effect, such as rewinding a tape.
        if not stat.S_ISREG(path.stat().st_mode):
            raise cannot_read(path, "it is not a regular file", "name the file itself")
        # O_NONBLOCK: if it has become a fifo, opening would wait forever for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise cannot_read(path, "it is not a regular file")
            if status.st_size > limit:
                size = f"it has {status.st_size} bytes, more than {limit}"
                raise cannot_read(path, size, "name another file: this kind is never so large")
            # None: a file in /proc that would wait for content, such as /proc/kmsg.
            return file.read(limit) or b""
    except OSError as error:
        why = error.strerror or str(error)
        raise cannot_read(path, why, remedy(error)) from error


def cannot_read(path: Path, why: str, remedy: str | None = None) -> ConsoleError:
    """The error for a file that was not read."""
    return ConsoleError(
        "File not read", f"{path}: {why}", remedy or "check the path and its permissions"
    )


def cannot_write(path: Path, error: OSError) -> ConsoleError:
    """The error for a file that was not written."""
    return ConsoleError(
        "Not written",
        f"{path}: {error.strerror or error}",
        remedy(error) or "check that the folder exists, and who owns it",
    )


def remedy(error: OSError) -> str | None:
    """What to do about an error of the operating system; None if that depends."""
    return _REMEDIES.get(error.errno or 0)


def refused(error: OSError, what: str) -> ConsoleError:
    """The error for something unforeseen that the operating system refused.

    Args:
        what: what was being done.
    """
    place = f"{error.filename}: " if error.filename else ""
    return ConsoleError(
        "The system refused",
        f"{place}{error.strerror or error} while {what}",
        remedy(error) or "try again; if it happens again, read the log",
        ExitCode.UNEXPECTED,
    )


def tidy(settings: Settings) -> None:
    """Remove temporary files that no process is writing from the state directory."""
    for folder in (settings.state, settings.identities, settings.sessions):
        remove_leftovers(folder)
        if folder != settings.state:
            for one in _folders_in(folder):
                remove_leftovers(one)
                for inner in _folders_in(one):  # where a session writes its state
                    remove_leftovers(inner)


def _folders_in(folder: Path) -> Iterator[Path]:
    try:
        yield from (one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    except OSError:
        return  # it does not exist yet, or we cannot read it: then our files are not in it
