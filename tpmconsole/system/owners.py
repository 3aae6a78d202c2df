"""Checks who owns a file: root never acts on one that another user could have written."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tpmconsole.errors import Action, NextStep, usage_error

_MOST_LINKS = 40  # the kernel's own limit
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why another user could change what a path leads to.

    Attributes:
        why: which file or folder is wrong, and what is wrong with it.
        repair: the command with which root corrects it.
    """

    why: str
    repair: str


def check_for_root(path: Path, what: str) -> None:
    """If we are root, refuse a file or folder that another user can write or replace.

    Every folder and link on the path is checked too. What does not exist yet, we will create.

    Args:
        what: what it is for, such as ``the state directory``.

    Raises:
        ConsoleError: another user owns it or a part of its path, or can write there.
        OSError: it cannot be examined.
    """
    if os.geteuid() != 0:
        return
    doubt = doubt_for_root(path)
    if doubt is not None:
        raise usage_error(
            "Not safe for root",
            f"{what} {path}: {doubt.why}",
            NextStep(
                Action.GIVE_STATE,
                text=f"check what is in it, then run: {doubt.repair}; "
                "or use a folder that only root can write ({})",
            ),
        )


def doubt_for_root(path: Path) -> Doubt | None:
    """What is wrong with a path for root; None if only root can change what it leads to."""
    steps = list(_way(path.absolute()))
    for place, status in steps[:-1]:
        # In a sticky folder no user can remove another's files, and each part's owner is checked.
        if doubt := _doubt(place, status, may_be_sticky=True):
            return doubt
    place, status = steps[-1]
    return _doubt(place, status, may_be_sticky=place != path.resolve())


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every folder and link that decides where a path leads, down to the last that exists."""
    here, links = Path("/"), 0
    yield here, here.stat()
    parts = list(reversed(path.parts[1:]))
    while parts:
        part = parts.pop()
        if part == "..":
            here = here.parent
            continue
        try:
            status = (here / part).lstat()
        except FileNotFoundError:
            return
        yield here / part, status
        if not stat.S_ISLNK(status.st_mode):
            here /= part
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = (here / part).readlink()
        if target.is_absolute():
            here = Path("/")
        parts += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _doubt(place: Path, status: os.stat_result, *, may_be_sticky: bool) -> Doubt | None:
    name, mode = shlex.quote(str(place)), status.st_mode
    if status.st_uid != 0:
        deep = "-hR" if stat.S_ISDIR(mode) and not may_be_sticky else "-h"
        return Doubt(f"{place} belongs to {user_name(status.st_uid)}", f"chown {deep} root: {name}")
    sticky = may_be_sticky and stat.S_ISDIR(mode) and mode & stat.S_ISVTX
    if not stat.S_ISLNK(mode) and mode & _OTHERS_WRITE and not sticky:
        return Doubt(f"others can write {place} ({stat.S_IMODE(mode):04o})", f"chmod go-w {name}")
    return None


def user_name(number: int) -> str:
    """A user's name, or the number if the user has no name."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
