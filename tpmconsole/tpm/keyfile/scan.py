"""Looks for TSS2 key files in folders, and yields each as it is found."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from tpmconsole.errors import ConsoleError
from tpmconsole.system.files import read_bounded
from tpmconsole.text import natural
from tpmconsole.tpm.keyfile import LIMIT, describe, inspect, may_be_key
from tpmconsole.tpm.model import KeyFile, KeyKind

__all__ = ["inspect", "scan"]


def scan(paths: Iterable[Path], *, depth: int = 0, others: bool = False) -> Iterator[KeyFile]:
    """Read key files as they are found, sorted by name in each folder.

    Links to files are followed; links to folders only if they are among ``paths``, so that a scan
    always ends. A file that is itself among ``paths`` is always yielded.

    Args:
        paths: files and folders.
        depth: how many levels of sub-folders to enter: 0 for none, 1 for an identities folder.
        others: also yield files in folders that are not TSS2 keys.
    """
    for path in paths:
        try:
            folder = stat.S_ISDIR(path.stat().st_mode)
        except (OSError, ValueError):  # ValueError: a NUL in the path
            folder = False
        if folder:
            yield from _folder(path, depth, others)
        else:
            yield inspect(path)


def _folder(folder: Path, depth: int, others: bool) -> Iterator[KeyFile]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: natural(entry.name))
    except OSError as error:
        yield KeyFile(str(folder), KeyKind.UNREADABLE, reason=error.strerror)
        return
    for entry in entries:
        if _is_folder(entry):
            if depth > 0:
                yield from _folder(folder / entry.name, depth - 1, others)
        elif (found := _file(folder / entry.name, entry, others)) is not None:
            yield found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # reported when it is read
        return False


def _file(path: Path, entry: os.DirEntry[str], others: bool) -> KeyFile | None:
    """What a file in a folder is; None if it should be skipped."""
    try:
        status = entry.stat()
    except PermissionError:
        return inspect(path)  # says why: an unreadable file may be a key
    except OSError:  # a link to nowhere or to itself
        return None
    if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= LIMIT:
        return None
    try:
        data = read_bounded(path, LIMIT)
    except ConsoleError:
        return inspect(path)  # says why, as above
    if not others and not may_be_key(data):
        return None
    found = describe(path, data, status.st_mode)
    return found if others or found.kind != KeyKind.NOT_TSS2 else None
