"""The type of file system that a path is on."""

from __future__ import annotations

from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = ("tmpfs", "ramfs")


def file_system_of(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that a path is on; empty if it is unknown.

    Args:
        mounts: the kernel's list of mounts (proc_pid_mountinfo(5)).
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in lines:
        fields = line.split()
        if "-" not in fields or len(fields) < 7:
            continue
        place = Path(fields[4].replace("\\040", " "))
        depth = len(place.parts)
        if path.resolve().is_relative_to(place) and depth >= best:
            best, kind = depth, fields[fields.index("-") + 1]
    return kind


def is_in_memory(path: Path) -> bool:
    """Whether files there wear out no disk and are lost at a restart."""
    return file_system_of(path) in _IN_MEMORY
