"""Probes from the driver up to the resource manager: can a program reach the chip at all?"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from tpmconsole.board.doctor.examination import Examination, Surroundings, read_text
from tpmconsole.errors import Action, NextStep
from tpmconsole.finding import Finding, fail, ok, skipped, warn
from tpmconsole.tpm.tcti import abrmd_trouble, device_trouble

CHIPS = "/sys/class/tpm"
_ACPI_TABLE = "/sys/firmware/acpi/tables/TPM2"
_DEVICE_TREE = "/sys/firmware/devicetree/base"
_TREE_DEPTH = 6
_BUS_DRIVERS = "tpm_tis, tpm_crb, tpm_tis_spi or tpm_tis_i2c"


def driver(examination: Examination) -> Finding:
    """Has a kernel driver found a TPM 2.0?"""
    around = examination.around
    chips = chips_of(around)
    evidence = tuple(_chip_words(chip) for chip in chips)
    if not chips:
        return _no_chip(examination)
    if all(read_text(chip / "tpm_version_major") == "1" for chip in chips):
        return fail(
            f"{chips[0].name} is a TPM 1.2, which cannot be used",
            "switch the chip to TPM 2.0 in the firmware, or replace it",
            *evidence,
        )
    return ok(", ".join(evidence), *(str(chip.resolve()) for chip in chips))


def chips_of(around: Surroundings) -> list[Path]:
    """The TPMs that the kernel knows about."""
    try:
        return sorted(one for one in around.at(CHIPS).iterdir() if one.name.startswith("tpm"))
    except OSError:
        return []


def _chip_words(chip: Path) -> str:
    link = chip / "device" / "driver"
    words = [f"driver {link.resolve().name}" if link.exists() else "no driver is named"]
    if (major := read_text(chip / "tpm_version_major")) is not None:
        words.append("TPM 1.2" if major == "1" else f"TPM {major}.0")
    if description := read_text(chip / "device" / "description"):
        words.append(description)
    return f"{chip.name}: {', '.join(words)}"


def _no_chip(examination: Examination) -> Finding:
    around = examination.around
    if examination.without_kernel:
        return skipped("no chip found, but none is needed", evidence=(f"{CHIPS} is empty",))
    if not around.at("/sys/class").is_dir():
        return fail("/sys is not mounted", "run: mount -t sysfs sysfs /sys")
    for node in _tree_nodes(around):
        status = read_text(node / "status") or "okay"
        evidence = f"{node}: status {status}, compatible {read_text(node / 'compatible') or '-'}"
        if status not in ("okay", "ok"):
            return fail(
                f"the device tree has a TPM, but it is switched off (status {status})",
                "set status = okay at that node of the device tree",
                evidence,
            )
        return fail(
            "the device tree has a TPM, but no driver has found it",
            f"load the driver ({_BUS_DRIVERS}); dmesg says why it rejected the chip",
            evidence,
        )
    if around.at(_ACPI_TABLE).exists():
        return fail(
            "the firmware announces a TPM, but no driver has found it",
            f"load the driver ({_BUS_DRIVERS}); dmesg says why it rejected the chip",
            f"{_ACPI_TABLE} exists",
        )
    return fail(
        "the kernel knows no TPM: neither a driver nor firmware or device tree has one",
        NextStep(
            Action.USE_SIMULATOR, text="enable the TPM in the firmware or the device tree, or {}"
        ),
        f"{CHIPS} is empty or missing",
    )


def _tree_nodes(around: Surroundings) -> list[Path]:
    """The device tree's nodes for a TPM, by their names (tpm@0)."""
    found: list[Path] = []
    level = [around.at(_DEVICE_TREE)]
    for _ in range(_TREE_DEPTH):
        below: list[Path] = []
        for folder in level:
            try:
                below += [one for one in folder.iterdir() if one.is_dir() and not one.is_symlink()]
            except OSError:
                continue
        found += [one for one in below if one.name.partition("@")[0] in ("tpm", "tpm_tis")]
        level = below
    return found


def nodes(examination: Examination) -> Finding:
    """Do the device nodes exist, and are they devices?"""
    places = examination.around.places
    managed, raw = (places.device(one) for one in (places.managed, places.raw))
    there = [path for path in (managed, raw) if path.exists()]
    evidence = tuple(_node_words(path) for path in there)
    files = [path for path in there if not stat.S_ISCHR(path.stat().st_mode)]
    if files:
        return fail(
            f"{files[0]} is not a device: a file of that name was created",
            f"remove it (rm {files[0]}) and let udev create the device (udevadm trigger)",
            *evidence,
        )
    if not there:
        if chips_of(examination.around):
            return fail(
                "the driver has found the chip, but /dev has no node for it",
                "mount devtmpfs on /dev, or start udev or mdev",
                f"neither {managed} nor {raw}",
            )
        return skipped(f"neither {managed} nor {raw}")
    if managed not in there:
        return warn(
            f"only {raw}: this kernel has no resource manager for it",
            "use kernel 4.12 or newer, or tpm2-abrmd",
            *evidence,
        )
    return ok(", ".join(map(str, there)), *evidence)


def _node_words(path: Path) -> str:
    status = path.stat()
    mode = stat.filemode(status.st_mode)
    return f"{path}: {mode} {_user(status.st_uid)}:{_group(status.st_gid)}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def permission(examination: Examination) -> Finding:
    """May this user open the devices?"""
    places = examination.around.places
    there = [path for one in (places.managed, places.raw) if (path := places.device(one)).exists()]
    me = _user(os.geteuid())
    evidence = (f"user {me}, groups {' '.join(map(_group, sorted(os.getgroups()))) or '-'}",)
    troubles = {path: device_trouble(path, places) for path in there}
    closed = [path for path in there if troubles[path]]
    if not closed:
        open_to_all = [path for path in there if path.stat().st_mode & 0o006]
        if open_to_all:
            return warn(
                f"every user of this board may use {open_to_all[0]}",
                f"give it to a group: chmod 660 {open_to_all[0]}, and a udev rule that keeps it so",
                *map(_node_words, open_to_all),
            )
        return ok(f"{me} may open {', '.join(map(str, there))}", *evidence)
    trouble = troubles[closed[0]]
    assert trouble is not None  # noqa: S101 - it is one of the closed
    if len(closed) < len(there):
        usable = ", ".join(str(path) for path in there if path not in closed)
        return ok(f"{me} may open {usable}", trouble.cause, *evidence)
    if _joined_since(closed[0], me):
        group = _group(closed[0].stat().st_gid)
        return fail(
            f"{me} was added to {group}, but this login does not have the group yet",
            f"log out and in again (or run: newgrp {group})",
            *evidence,
        )
    return fail(trouble.cause, trouble.remedy or "check what it is", *evidence)


def _joined_since(path: Path, user: str) -> bool:
    """Whether the user is in the device's group now, but was not at login."""
    number = path.stat().st_gid
    try:
        members = grp.getgrgid(number).gr_mem
    except KeyError:
        return False
    return user in members and number not in (os.getegid(), *os.getgroups())


def users(examination: Examination) -> Finding:
    """Which other programs have the device open, or use the TPM through a library?"""
    from tpmconsole.board.tpm_users import tpm_users

    found = tpm_users(examination.board)
    evidence = [f"{one.name}, process {one.pid} of {one.user}: {one.how}" for one in found]
    if os.geteuid() != 0:
        evidence.append("only root can see which files other users' processes have open")
    places = examination.around.places
    raw = str(places.device(places.raw))
    holders = [one for one in found if one.how.split(", ")[0] == raw and one.name != "tpm2-abrmd"]
    if holders:
        one = holders[0]
        return warn(
            f"{one.name} ({one.pid}) has {raw} open, which only one program can open at a time",
            f"make it use /dev/tpmrm0 or tpm2-abrmd, or end it: systemctl status {one.pid} names "
            "its service",
            *evidence,
        )
    names = ", ".join(f"{one.name} ({one.pid})" for one in found)
    return ok(names or "no other program uses the TPM", *evidence)


def manager(examination: Examination) -> Finding:
    """Is there a resource manager, so that programs do not get in each other's way?"""
    if examination.without_kernel:
        return skipped("the chosen TPM is not behind the kernel's driver")
    places = examination.around.places
    managed = places.device(places.managed)
    abrmd = abrmd_trouble(places.system_bus)
    evidence = (abrmd.cause if abrmd else "tpm2-abrmd answers on the system bus",)
    if managed.exists():
        return ok(f"the kernel's resource manager, {managed}", *evidence)
    if abrmd is None:
        return ok("tpm2-abrmd, on the system bus", *evidence)
    if not places.device(places.raw).exists():
        return skipped("there is no device to manage", evidence=evidence)
    return warn(
        "none: three loaded keys fill the TPM, and programs get in each other's way",
        "use kernel 4.12 or newer, which has /dev/tpmrm0, or start tpm2-abrmd",
        *evidence,
    )
