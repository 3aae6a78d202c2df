"""Removable disks as sysfs shows them, and what is on them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tpmconsole.errors import ConsoleError
from tpmconsole.system.browse import MOST_ENTRIES, list_folder
from tpmconsole.system.disks import Disks, Mount, disks_in_time, removable_disks


class System:
    """A sysfs with the folders and links that the kernel makes."""

    def __init__(self, folder: Path) -> None:
        self.sys = folder / "sys"
        self.media = folder / "media"
        (self.sys / "class" / "block").mkdir(parents=True)
        self.mounts: list[Mount] = []

    def disk(
        self,
        bus: str,
        name: str,
        parts: int,
        *,
        removable: bool = False,
        device: dict[str, str] | None = None,
    ) -> None:
        place = self.sys / "devices" / bus / "block" / name
        (place / "device").mkdir(parents=True)
        (place / "removable").write_text(f"{int(removable)}\n")
        for key, value in (device or {}).items():
            (place / "device" / key).write_text(f"{value}\n")
        separator = "p" if name[-1].isdigit() else ""
        for block in [place, *(place / f"{name}{separator}{n + 1}" for n in range(parts))]:
            block.mkdir(exist_ok=True)
            (block / "size").write_text("2048\n")
            if block != place:
                (block / "partition").write_text("1\n")
            self._link(block)

    def _link(self, block: Path) -> None:
        (self.sys / "class" / "block" / block.name).symlink_to(block)

    def mapped(self, name: str, below: str) -> None:
        """An encrypted disk that is open: /dev/dm-0 on top of a partition."""
        block = self.sys / "devices" / "virtual" / "block" / name
        (block / "slaves").mkdir(parents=True)
        (block / "size").write_text("2000\n")
        real = (self.sys / "class" / "block" / below).resolve()
        (block / "slaves" / below).symlink_to(real)
        (real / "holders").mkdir()
        (real / "holders" / name).symlink_to(block)
        self._link(block)

    def mount(self, device: str, where: str, kind: str = "vfat", options: str = "rw") -> Path:
        path = self.media / where if not where.startswith("/") else Path(where)
        path.mkdir(parents=True, exist_ok=True)
        self.mounts.append(Mount(device, str(path), kind, options))
        return path

    def look(self) -> Disks:
        return removable_disks(self.sys, lambda: self.mounts)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_a_stick_a_card_and_a_usb_disk_are_offered_with_their_free_space(system: System) -> None:
    system.disk(
        "pci0/usb1/1-1", "sda", 1, device={"model": "Cruzer"}
    )  # a USB disk: not flagged as removable
    system.disk("pci0/reader", "sdb", 0, removable=True)  # a stick without partitions
    system.disk("platform/mmc1", "mmcblk1", 1, device={"type": "SD", "name": "SC32G"})
    stick = system.mount("/dev/sda1", "stick")
    whole = system.mount("/dev/sdb", "whole", "exfat")
    card = system.mount("/dev/mmcblk1p1", "card", options="ro,noatime")
    found = system.look()
    assert [one.path for one in found.mounted] == [card, stick, whole]
    one = found.mounted[1]
    assert (one.device, one.kind, one.model, one.writable) == ("/dev/sda1", "vfat", "Cruzer", True)
    assert one.free > 0
    assert not found.mounted[0].writable
    assert found.mounted[0].model == "SC32G"
    assert found.unmounted == ()


def test_the_systems_own_disk_is_never_offered_whatever_it_is(system: System) -> None:
    system.disk(
        "platform/mmc0", "mmcblk0", 2, device={"type": "SD"}
    )  # many a board runs from a card
    system.disk("platform/mmc2", "mmcblk2", 1, device={"type": "MMC"})  # eMMC is soldered
    system.disk("pci0/ata1", "sdc", 1)
    system.mounts.append(Mount("/dev/mmcblk0p2", "/", "ext4", "rw"))
    system.mount("/dev/mmcblk0p1", "firmware")
    system.mount("/dev/mmcblk2p1", "data", "ext4")
    system.mount("/dev/sdc1", "ata", "ext4")
    assert system.look() == Disks((), ())


def test_what_nobody_has_mounted_is_named(system: System) -> None:
    system.disk("pci0/usb1/1-1", "sda", 2)
    system.disk("pci0/usb1/1-2", "sdb", 0)
    empty = system.sys / "devices/pci0/usb1/1-2/block/sdb/size"
    empty.write_text("0\n")  # a card reader without a card
    system.mount("/dev/sda1", "one")
    found = system.look()
    assert [one.device for one in found.mounted] == ["/dev/sda1"]
    assert found.unmounted == ("/dev/sda2",)


def test_an_encrypted_stick_is_removable_too(system: System) -> None:
    system.disk("pci0/usb1/1-1", "sda", 1)
    system.mapped("dm-0", "sda1")
    path = system.mount("/dev/dm-0", "vault", "ext4")
    found = system.look()
    assert [one.path for one in found.mounted] == [path]
    assert found.unmounted == ()


def test_a_disk_that_was_pulled_out_and_one_mounted_twice(system: System) -> None:
    system.disk("pci0/usb1/1-1", "sda", 1)
    system.mounts.append(Mount("/dev/sda1", "/nowhere/stick", "vfat", "rw"))
    system.mounts.append(Mount("/dev/sda1", "/nowhere/again", "vfat", "rw"))
    system.mounts.append(Mount("/dev/gone", "/nowhere/gone", "vfat", "rw"))
    (one,) = system.look().mounted
    assert (one.free, one.writable) == (0, False)


def test_a_disk_that_never_answers_keeps_nobody_waiting() -> None:
    answer = threading.Event()

    def look() -> Disks:
        answer.wait()
        return Disks()

    assert disks_in_time(look, seconds=0.01).silent
    answer.set()
    assert disks_in_time(lambda: Disks(unmounted=("/dev/sdz1",))) == Disks((), ("/dev/sdz1",))


def test_this_machine_can_be_asked() -> None:
    assert all(one.path.is_absolute() for one in removable_disks().mounted)


def test_a_folder_shows_folders_then_certificates_then_the_rest(tmp_path: Path) -> None:
    for name in ("notes.txt", "pump-10.pem", "pump-2.CRT", ".hidden.pem"):
        (tmp_path / name).write_text("x")
    (tmp_path / "zoo").mkdir()
    (tmp_path / "gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.pem")
    found = list_folder(tmp_path)
    names = [one.path.name for one in found.entries]
    assert names == ["zoo", "pump-2.CRT", "pump-10.pem", "notes.txt"]
    assert [one.folder for one in found.entries] == [True, False, False, False]
    assert found.left_out == 0


def test_a_crowded_folder_is_cut_and_a_missing_one_is_told(tmp_path: Path) -> None:
    for number in range(MOST_ENTRIES + 3):
        (tmp_path / f"{number}.log").touch()
    (tmp_path / "z.pem").touch()
    found = list_folder(tmp_path)
    assert found.left_out == 4
    assert found.entries[0].path.name == "z.pem"
    with pytest.raises(ConsoleError, match="not read"):
        list_folder(tmp_path / "none")
