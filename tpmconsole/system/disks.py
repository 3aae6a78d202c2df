"""Removable disks: which are mounted and how much fits on them, and which are there unmounted.

What the kernel says in sysfs counts (Documentation/ABI/stable/sysfs-block): the flag ``removable``
is set for card readers and sticks only, so a disk at USB and a card of type SD count as well. The
disk that the system itself runs from is never offered, whatever it is.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_USB = re.compile(r"usb\d+")
_SYSTEM_MOUNTS = frozenset({"/", "/boot", "/boot/efi", "/boot/firmware", "/usr", "/var"})
_DEEPEST_MAPPING = 4
ANSWER_SECONDS = 3.0


class Mount(NamedTuple):
    """A line of /proc/self/mounts."""

    device: str
    mountpoint: str
    fstype: str
    opts: str


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system of a removable disk, mounted.

    Attributes:
        path: where it is mounted.
        device: such as ``/dev/sdb1``.
        kind: its file system, such as ``vfat``.
        model: what its maker calls it; empty where nobody says.
        free: bytes that we may still write.
        writable: False where it is mounted read-only, or we may not write to its top folder.
    """

    path: Path
    device: str
    kind: str
    model: str
    free: int
    writable: bool


@dataclass(frozen=True, slots=True)
class Disks:
    """What removable disks there are.

    Attributes:
        mounted: those that can be used now.
        unmounted: devices such as ``/dev/sdb1`` that nobody has mounted yet.
        silent: one of them does not answer, so that nothing is known of any.
    """

    mounted: tuple[Disk, ...] = ()
    unmounted: tuple[str, ...] = ()
    silent: bool = False


def disks_in_time(
    look: Callable[[], Disks] | None = None, seconds: float = ANSWER_SECONDS
) -> Disks:
    """What ``removable_disks`` finds, where every disk answers in time.

    A disk that is broken, or was pulled out while it was written to, may keep whoever asks it
    waiting for ever; no signal ends that, so the one who waits is a thread of its own.

    Args:
        look: what looks; ``removable_disks`` where it is not given.
        seconds: how long it may take.
    """
    found: list[Disks] = []
    asking = threading.Thread(target=lambda: found.append((look or removable_disks)()), daemon=True)
    asking.start()
    asking.join(seconds)
    return found[0] if found else Disks(silent=True)


def removable_disks(
    system: Path = Path("/sys"), mounts: Callable[[], Iterable[Mount]] | None = None
) -> Disks:
    """Look at what is plugged in now; a disk that hangs keeps the caller waiting.

    Args:
        system: where sysfs is.
        mounts: what is mounted; psutil is asked where it is not given.
    """
    blocks = system / "class" / "block"
    table = list((mounts or _mounted)())
    homes = {one.mountpoint: _disk_of(blocks, one.device) for one in table}
    own = {homes[mountpoint] for mountpoint in _SYSTEM_MOUNTS & homes.keys()}
    own.add(_disk_of_root(system))
    found: dict[str, Disk] = {}  # a device that is mounted twice is offered once
    for one in table:
        disk = homes[one.mountpoint]
        if disk is not None and disk not in own and _is_removable(disk):
            found.setdefault(one.device, _described(one, disk))
    unmounted = tuple(
        f"/dev/{name}"
        for name, disk in _file_systems(blocks)
        if disk not in own and _is_removable(disk) and f"/dev/{name}" not in found
    )
    return Disks(tuple(sorted(found.values(), key=lambda one: str(one.path))), unmounted)


def _mounted() -> Iterator[Mount]:
    import psutil

    for one in psutil.disk_partitions(all=True):
        if one.device.startswith("/dev/"):
            yield Mount(one.device, one.mountpoint, one.fstype, one.opts)


def _described(mount: Mount, disk: Path) -> Disk:
    path = Path(mount.mountpoint)
    try:
        free = shutil.disk_usage(path).free
    except OSError:  # pulled out, or broken: nothing fits on it any more
        free = 0
    writable = "ro" not in mount.opts.split(",") and os.access(path, os.W_OK | os.X_OK)
    model = _line(disk / "device" / "model") or _line(disk / "device" / "name")
    return Disk(path, mount.device, mount.fstype, model, free, writable)


def _disk_of(blocks: Path, device: str) -> Path | None:
    """The folder in sysfs of the whole disk that a device is a part of."""
    name = Path(device).resolve().name if device.startswith("/dev/mapper/") else Path(device).name
    return _whole_disk(blocks / name)


def _disk_of_root(system: Path) -> Path | None:
    """The disk of ``/`` by its number: the mount table may call it /dev/root."""
    number = Path("/").stat().st_dev
    return _whole_disk(system / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}")


def _whole_disk(block: Path) -> Path | None:
    try:
        folder = block.resolve(strict=True)
        for _ in range(_DEEPEST_MAPPING):  # an encrypted stick is mapped from the real one
            below = sorted((folder / "slaves").glob("*"))
            if not below:
                break
            folder = below[0].resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return folder.parent if (folder / "partition").exists() else folder


def _is_removable(disk: Path) -> bool:
    return (
        _line(disk / "removable") == "1"
        or any(_USB.fullmatch(part) for part in disk.parts)
        or _line(disk / "device" / "type") == "SD"
    )


def _file_systems(blocks: Path) -> Iterator[tuple[str, Path]]:
    """Partitions, and disks that have none, with the disk that each is on."""
    try:
        names = sorted(one.name for one in blocks.iterdir())
    except OSError:
        return
    for name in names:
        disk = _whole_disk(blocks / name)
        if disk is None or _line(blocks / name / "size") in ("", "0"):  # a reader without a card
            continue
        holders = blocks / name / "holders"
        split = (blocks / name).resolve() == disk and any(disk.glob("*/partition"))
        if not split and not (holders.is_dir() and any(holders.iterdir())):
            yield name, disk


def _line(path: Path) -> str:
    """A file of sysfs; empty where there is none."""
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
