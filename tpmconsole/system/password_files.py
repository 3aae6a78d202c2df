"""Reads files with a password in the first line, which only the reader and root may access."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from tpmconsole.errors import ConsoleError
from tpmconsole.system import files
from tpmconsole.system.owners import doubt_for_root, user_name

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def read_password_file(path: Path, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes, or a pipe's first line.

    A link is followed: the file that it leads to counts.

    Raises:
        ConsoleError: it cannot be read, is something else, or others can read or write it.
    """
    try:
        # Opening a pipe waits for its writer, as in a shell; opening anything else does not wait.
        wait = 0 if stat.S_ISFIFO(path.stat().st_mode) else os.O_NONBLOCK
        descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC | wait)
        try:
            status = os.fstat(descriptor)
            _check(path, status, os.geteuid())
            if stat.S_ISREG(status.st_mode) and status.st_size > limit:
                raise files.cannot_read(
                    path, f"it has {status.st_size} bytes, more than {limit}", "name another file"
                )
            return _line(descriptor, limit)
        finally:
            os.close(descriptor)
    except OSError as error:
        why = error.strerror or str(error)
        raise files.cannot_read(path, why, files.remedy(error)) from error


def check_for_service(path: Path) -> None:
    """Refuse a password file for a service unless only root can access it: root reads it at boot.

    Raises:
        ConsoleError: it is missing, or others can read, write or replace it.
    """
    try:
        _check(path, path.stat(), 0)
        doubt = doubt_for_root(path)
    except OSError as error:
        raise files.cannot_read(path, error.strerror or str(error), files.remedy(error)) from error
    if doubt is not None:
        raise _not_private(path, doubt.why, doubt.repair)


def _check(path: Path, status: os.stat_result, reader: int) -> None:
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
        raise files.cannot_read(path, "it is neither a file nor a pipe", "name the file itself")
    name = shlex.quote(str(path))
    if status.st_uid not in (reader, 0):
        owner = user_name(status.st_uid)
        repair = f"chown {user_name(reader)} {name}"
        raise _not_private(path, f"it belongs to {owner}", repair)
    # systemd lets a service read its credentials by an access list, which appears as group rights.
    unwanted = _OTHERS_WRITE if _is_credential(path) else _OTHERS
    if status.st_mode & unwanted:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise _not_private(path, f"others can access it ({mode})", f"chmod 600 {name}")


def _is_credential(path: Path) -> bool:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.resolve().is_relative_to(Path(folder or "").resolve())


def _not_private(path: Path, why: str, repair: str) -> ConsoleError:
    return ConsoleError(
        "Password file not private",
        f"{path}: {why}",
        f"run: {repair}; if someone may have read it, choose another password",
    )


def _line(descriptor: int, limit: int) -> bytes:
    data = b""
    while len(data) < limit and b"\n" not in data:
        more = os.read(descriptor, limit - len(data))
        if not more:
            break
        data += more
    return data
