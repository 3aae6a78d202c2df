"""Lists a folder for a user who is looking for a file, or for a place for one."""

from __future__ import annotations

import heapq
import os
from dataclasses import dataclass
from pathlib import Path

from tpmconsole.errors import ConsoleError
from tpmconsole.text import natural, printable

MOST_ENTRIES = 500
_CERTIFICATES = frozenset(
    {".pem", ".crt", ".cer", ".cert", ".der", ".p7b", ".p7c", ".p7s", ".cms", ".p12", ".pfx"}
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder or a regular file.

    Attributes:
        size: in bytes; 0 for a folder.
        modified: seconds since the epoch.
    """

    path: Path
    folder: bool
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder's entries: folders, then files named like certificates, then other files.

    Attributes:
        left_out: how many entries are not listed, since no one would scroll through them.
    """

    entries: tuple[Entry, ...]
    left_out: int


def list_folder(folder: Path) -> Listing:
    """What can be chosen in a folder: hidden files, devices and fifos are left out.

    Raises:
        ConsoleError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = [one for entry in entries if (one := _entry(entry)) is not None]
    except OSError as error:
        raise ConsoleError(
            "Folder not read",
            f"{folder}: {error.strerror or error}",
            "check that it still exists and that you can read it",
        ) from error
    first = heapq.nsmallest(MOST_ENTRIES, found, key=_order)
    return Listing(tuple(first), len(found) - len(first))


def new_file(path: Path, name: str) -> Path:
    """Return the file that a typed path means: in a folder, one of the proposed name.

    Raises:
        ConsoleError: it is in a folder that does not exist; the first that is missing is named.
    """
    if path.is_dir():
        return path / name
    missing = [one for one in path.parents if not one.exists()]
    if missing:
        raise _nothing_at(missing[-1])
    return path


def existing(path: Path) -> Path:
    """Return a typed path to something that exists.

    Raises:
        ConsoleError: it does not; the first folder that is missing is named.
    """
    if not path.exists():
        raise _nothing_at(new_file(path, ""))
    return path


def _nothing_at(path: Path) -> ConsoleError:
    return ConsoleError(
        "Nothing there",
        f"there is no {printable(str(path))}",
        "check the spelling, and whether the disk is mounted",
    )


def _entry(entry: os.DirEntry[str]) -> Entry | None:
    if entry.name.startswith("."):
        return None
    try:
        folder = entry.is_dir()
        if not folder and not entry.is_file():
            return None
        status = entry.stat()
    except OSError:  # a broken link, or removed meanwhile
        return None
    return Entry(Path(entry.path), folder, 0 if folder else status.st_size, status.st_mtime)


def _order(entry: Entry) -> tuple[int, object]:
    kind = 0 if entry.folder else 1 if entry.path.suffix.lower() in _CERTIFICATES else 2
    return kind, natural(entry.path.name)
