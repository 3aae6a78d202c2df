"""Lists removable disks: those mounted, with their free space, and those not mounted.

sysfs decides (Documentation/ABI/stable/sysfs-block): the kernel sets the flag ``removable`` only
for card readers and sticks, so USB disks and cards of type SD count as well. The disk that the
system itself runs from is never offered, whatever it is.
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
    """A mounted file system of a removable disk.

    Attributes:
        path: where it is mounted.
        device: such as ``/dev/sdb1``.
        kind: its file system, such as ``vfat``.
        model: what its maker calls it; empty if unknown.
        free: bytes that we can still write.
        writable: False if it is mounted read-only, or we cannot write to its top folder.
    """

    path: Path
    device: str
    kind: str
    model: str
    free: int
    writable: bool


@dataclass(frozen=True, slots=True)
class Disks:
    """The removable disks that exist.

    Attributes:
        mounted: those that can be used now.
        unmounted: devices such as ``/dev/sdb1`` that are not mounted yet.
        silent: a disk does not answer, so nothing is known about any.
    """

    mounted: tuple[Disk, ...] = ()
    unmounted: tuple[str, ...] = ()
    silent: bool = False


def disks_in_time(
    look: Callable[[], Disks] | None = None, seconds: float = ANSWER_SECONDS
) -> Disks:
    """What ``removable_disks`` finds, if every disk answers in time.

    A disk that is broken, or was pulled out during a write, may block its caller forever. No
    signal ends that, so a separate thread does the waiting.

    Args:
        look: the function to call; by default ``removable_disks``.
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
    """List what is plugged in now; a disk that hangs blocks the caller.

    Args:
        system: where sysfs is.
        mounts: lists what is mounted; by default from psutil.
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
    except OSError:  # pulled out, or broken: it has no space left
        free = 0
    writable = "ro" not in mount.opts.split(",") and os.access(path, os.W_OK | os.X_OK)
    model = _line(disk / "device" / "model") or _line(disk / "device" / "name")
    return Disk(path, mount.device, mount.fstype, model, free, writable)


def _disk_of(blocks: Path, device: str) -> Path | None:
    """The sysfs folder of the whole disk that a device is part of."""
    name = Path(device).resolve().name if device.startswith("/dev/mapper/") else Path(device).name
    return _whole_disk(blocks / name)


def _disk_of_root(system: Path) -> Path | None:
    """The disk of ``/`` by its number: the mount table may call it /dev/root."""
    number = Path("/").stat().st_dev
    return _whole_disk(system / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}")


def _whole_disk(block: Path) -> Path | None:
    try:
        folder = block.resolve(strict=True)
        for _ in range(_DEEPEST_MAPPING):  # an encrypted stick is mapped onto the real device
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
    """Partitions, and disks without partitions, each with the disk it is on."""
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
    """The content of a sysfs file; empty if there is no such file."""
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
