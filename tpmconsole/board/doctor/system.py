"""Probes of the board apart from the TPM: clock, entropy, disk, files and our privileges."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta

from tpmconsole import clock as board_clock
from tpmconsole.board.doctor.examination import Examination, Surroundings
from tpmconsole.board.doctor.modes import wrong_modes
from tpmconsole.board.root_hint import root_note, session_note
from tpmconsole.errors import Action, NextStep
from tpmconsole.finding import Finding, fail, ok, warn
from tpmconsole.system.mounts import MOUNTS, file_system_of

LOW_DISK = 16 * 1024 * 1024
LOW_INODES = 100
_NOT_KEPT = ("tmpfs", "ramfs", "rootfs")
_WHICH_IS_RIGHT = "compare the clock with another one, and set it if it is wrong (date, chrony)"
_RTC = "/sys/class/rtc/rtc0"
_RTC_OFF = timedelta(days=1)
_SYNCHRONISED = "/run/systemd/timesync/synchronized"
_GENERATORS = "/sys/class/misc/hw_random/rng_current"


def clock(examination: Examination) -> Finding:
    """Is the clock plausible, and will it be after a power cut?"""
    now = board_clock.now()
    made = [one.made for one in examination.board.identities.all() if one.made is not None]
    rtc, evidence = _rtc(examination.around)
    if examination.around.at(_SYNCHRONISED).exists():
        evidence = (*evidence, "set by systemd-timesyncd")
    if fault := board_clock.fault(now):
        return fail(fault, board_clock.SET_IT, *evidence)
    if against := board_clock.contradicted(now, max(made, default=None)):
        return warn(against, _WHICH_IS_RIGHT, *evidence)
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if rtc is not None and abs(now - rtc) > _RTC_OFF:
        return warn(
            f"{text}, and the real-time clock says {rtc:%Y-%m-%d}: its battery is empty or missing",
            "replace the battery, then run: hwclock --systohc",
            *evidence,
        )
    return ok(text, *evidence)


def _rtc(around: Surroundings) -> tuple[datetime | None, tuple[str, ...]]:
    seconds = around.text(f"{_RTC}/since_epoch")
    if seconds is None or not seconds.isdecimal():
        return None, ("no real-time clock: without NTP a power cut loses the time",)
    try:
        when = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None, (f"the real-time clock is not plausible: {seconds}",)
    return when, (f"{around.text(f'{_RTC}/name') or 'rtc0'}: {when:%Y-%m-%d %H:%M:%S} UTC",)


def entropy(examination: Examination) -> Finding:
    """Does the kernel have enough randomness, or will TLS wait for it?"""
    around = examination.around
    available = around.text("/proc/sys/kernel/random/entropy_avail") or "?"
    generator = around.text(_GENERATORS) or "none"
    evidence = (f"entropy {available} bits", f"hardware generator: {generator}")
    try:
        os.getrandom(1, os.GRND_NONBLOCK)
    except BlockingIOError:
        return fail(
            "the kernel's random numbers are not ready: every TLS program waits for them",
            "wait; to fix it, enable the TPM's generator (CONFIG_HW_RANDOM_TPM) or rng-tools",
            *evidence,
        )
    return ok("the kernel's random numbers are ready", *evidence)


def disk(examination: Examination) -> Finding:
    """Can the state directory be written, and will it survive a restart?"""
    state = examination.board.settings.state
    there = next(path for path in (state, *state.parents) if path.exists())
    free = shutil.disk_usage(there).free
    figures = os.statvfs(there)
    kind = file_system_of(there, examination.around.at(str(MOUNTS)))
    text = f"{free // (1024 * 1024)} MB free for {state}"
    evidence = (f"{there} is on {kind or 'an unknown file system'}", f"{figures.f_favail} inodes")
    if figures.f_flag & os.ST_RDONLY:
        return fail(
            f"{there} is on a disk that is mounted read-only",
            NextStep(
                Action.GIVE_STATE,
                text="mount it for writing (mount -o remount,rw), or use another folder: {}",
            ),
            *evidence,
        )
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        return fail(
            f"{there} is not writable for this user",
            NextStep(Action.GIVE_STATE, text="check its owner, or use another folder: {}"),
            *evidence,
        )
    if free < LOW_DISK or (figures.f_files and figures.f_favail < LOW_INODES):
        return warn(text, "free some space: certificates and events are kept there", *evidence)
    if kind in _NOT_KEPT and not examination.without_kernel:
        return warn(
            f"{text}, in memory only: a restart loses all of it",
            NextStep(Action.GIVE_STATE, text="use a folder on a disk ({} or TPMCONSOLE_STATE)"),
            *evidence,
        )
    return ok(text, *evidence)


def files(examination: Examination) -> Finding:
    """Can others read or change our private files?"""
    state = examination.board.settings.state
    wrong = wrong_modes(state)
    if not wrong:
        return ok(f"everything below {state} is private to this user")
    evidence = tuple(str(one) for one in wrong)
    foreign = [one for one in wrong if not one.ours]
    if foreign:
        return fail(
            f"{foreign[0].path} belongs to {foreign[0].owner}, not to this user",
            f"run as {foreign[0].owner}, or run: chown -R $USER {state}",
            *evidence,
        )
    return fail(
        f"{len(wrong)} of our files and folders are open to others, such as {wrong[0].path}",
        NextStep(Action.REPAIR_MODES, text="run: {}"),
        *evidence,
    )


def privilege(examination: Examination) -> Finding:
    """Are we running with more rights than necessary?"""
    evidence = (f"user id {os.geteuid()}, real {os.getuid()}",)
    open_ones = [one for one in map(session_note, examination.board.sessions.list()) if one]
    if open_ones:
        which = ", ".join(one.subject for one in open_ones)
        return warn(f"sessions run as root, unconfined: {which}", open_ones[0], *evidence)
    note = root_note(examination.connection)
    if note is not None:
        return warn("running as root, which is not necessary", note, *evidence)
    if os.geteuid() == 0:
        return ok("root", *evidence)
    return ok("an ordinary user", *evidence)
