"""Files that are private, and whole or not there at all."""

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

# How the name of work in progress begins, or of what a crash left of it; nobody else's does.
UNFINISHED = ".tpmconsole-unfinished-"
_REMEDIES = {
    errno.ENOSPC: "free some space there (df shows how much), then try again",
    errno.EDQUOT: "free some space: this user may not use more of the disk",
    errno.EROFS: "mount the disk writable (mount -o remount,rw); dmesg tells whether it is damaged",
    errno.EIO: "look at what dmesg says about the disk, and replace it",
    errno.EMFILE: "end other work of this program, or raise its limit of open files (ulimit -n)",
    errno.ENFILE: "end programs that have many files open, or raise fs.file-max (sysctl)",
    errno.EACCES: "check the owner and the permissions there (ls -l)",
    errno.EPERM: "check the owner and the permissions there (ls -l)",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "correct the path: a part of it is a file, not a folder",
    errno.ENOMEM: "end programs that use much memory",
    errno.EAGAIN: "end programs of this user: it may not have more processes",
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
        descriptor, temporary = _new_temporary(path)
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


def write_out(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Write a file where the user said: a new one, or in place of a regular one.

    Everything else would itself be replaced, and root would have no /dev/null or /dev/stdout (a
    link) any more. Links are not followed: in a folder that others may write to, they would choose
    what root overwrites.

    Raises:
        ConsoleError: as ``write_atomic``, or something else than a file has this name.
    """
    with suppress(OSError):  # of which writing tells
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
    """A temporary file beside ``path``, open, and claimed while it is."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)
        if _claim(descriptor):
            return descriptor, name
        os.close(descriptor)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A private folder beside ``path`` to be filled and renamed to it; removed where that fails.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=path.parent))
        with suppress(FileNotFoundError):  # somebody cleans up just now
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
    """Lock what was just made, so that nobody takes it for left over; False where somebody has."""
    try:
        if not FileLock(descriptor).try_take():
            return False
    except OSError:
        return True  # a file system without locks: nobody can claim it in order to remove it
    return os.fstat(descriptor).st_nlink > 0


def remove_leftovers(folder: Path) -> None:
    """Remove what a crash left unfinished; not what somebody is at, whatever the clock says."""
    for path in folder.glob(f"{UNFINISHED}*"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue  # somebody else was faster, or it stays: it is in nobody's way
        try:
            if not FileLock(descriptor).try_take():
                continue  # it is being written just now
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:  # it is in nobody's way either
            continue
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, for good also after a power cut; one that is not there is no fault.

    Raises:
        ConsoleError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_folder(folder: Path) -> None:
    """Remove a folder that the caller has locked; a crash leaves it whole, or as a leftover.

    Raises:
        OSError: it cannot be removed.
    """
    gone = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    folder.rename(gone)  # which takes the place of an empty folder: rename(2)
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
    """Change the mode of a file or folder of ours.

    By a descriptor: nobody can put something else in its place between the look and the change.

    Raises:
        OSError: it cannot be changed, is a link (ELOOP), is something else, or is somebody else's.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise OSError(errno.EINVAL, "it is neither a file nor a folder", str(path))
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it is somebody else's", str(path))
        os.fchmod(descriptor, mode)
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
            raise cannot_read(path, "it is not a regular file", "name the file itself")
        # O_NONBLOCK: were it a fifo by now, opening would wait for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise cannot_read(path, "it is not a regular file")
            if status.st_size > limit:
                size = f"it has {status.st_size} bytes, more than {limit}"
                raise cannot_read(path, size, "name another file: none of this kind is so large")
            # None: a file of /proc that would wait for content, such as /proc/kmsg.
            return file.read(limit) or b""
    except OSError as error:
        why = error.strerror or str(error)
        raise cannot_read(path, why, remedy(error)) from error


def cannot_read(path: Path, why: str, remedy: str | None = None) -> ConsoleError:
    """A file that was not read, in words."""
    return ConsoleError(
        "File not read", f"{path}: {why}", remedy or "check the path and its permissions"
    )


def cannot_write(path: Path, error: OSError) -> ConsoleError:
    """A failed write in words."""
    return ConsoleError(
        "Not written",
        f"{path}: {error.strerror or error}",
        remedy(error) or "check the folder's owner, and whether it is there",
    )


def remedy(error: OSError) -> str | None:
    """What to do about what the operating system refused; None where that depends."""
    return _REMEDIES.get(error.errno or 0)


def refused(error: OSError, what: str) -> ConsoleError:
    """What the operating system refused where nobody foresaw it, in words.

    Args:
        what: what was being done.
    """
    place = f"{error.filename}: " if error.filename else ""
    return ConsoleError(
        "The system refused",
        f"{place}{error.strerror or error} while {what}",
        remedy(error) or "try again; where it stays, look into the log",
        ExitCode.UNEXPECTED,
    )


def tidy(settings: Settings) -> None:
    """Remove temporary files that nobody is writing from the state directory."""
    for folder in (settings.state, settings.identities, settings.sessions):
        remove_leftovers(folder)
        if folder != settings.state:
            for one in _folders_in(folder):
                remove_leftovers(one)
                for inner in _folders_in(one):  # where a session says how it is
                    remove_leftovers(inner)


def _folders_in(folder: Path) -> Iterator[Path]:
    try:
        yield from (one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    except OSError:
        return  # there is none yet, or it is not ours to look into: then nothing of ours is there
