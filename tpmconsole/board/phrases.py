"""The words for states and figures, the same on the screen and in a command's answer."""

from __future__ import annotations

from collections.abc import Mapping

from tpmconsole.errors import Action, NextStep
from tpmconsole.system.disks import Disks
from tpmconsole.text import printable
from tpmconsole.tpm.auth import AttemptCost
from tpmconsole.tpm.model import Hierarchy, Lockout, Room, SelfTest, SelfTestResult, TpmHealth

SELF_TEST = {
    SelfTestResult.PASSED: "PASSED",
    SelfTestResult.FAILED: "FAILED",
    SelfTestResult.NOT_RUN: "NOT RUN",
}

# How a session's list of revoked certificates is, by the state of a finding.
CRL_STATES = {"ok": "", "warn": "CRL ENDS", "fail": "CRL ENDED"}

BETTER_MADE_HERE = (
    "a key from a file existed outside the TPM: whoever has a copy can pose as this board; a key "
    "made in the TPM has never been anywhere else"
)

MOVED_FOR_GOOD = (
    "the file is removed, and no key leaves a TPM: there is no way back, and whoever evicts it "
    "loses it"
)

USABLE = {
    "yes": "YES",
    "not-this-tpm": "NOT HERE",
    "parent-missing": "NO PARENT",
    "other-parent": "PARENT",
    "needs-password": "PASSWORD",
    "wrong-password": "WRONG",
    "last-try": "LAST TRY",
    "locked-out": "LOCKED",
    "policy": "POLICY",
    "unsupported": "NO ALG",
    "no-room": "NO ROOM",
    "cannot-sign": "NO",
}


def chip_words(health: TpmHealth) -> str:
    """Who made it and what it is; a simulator's name says it all."""
    name = health.manufacturer_name
    return name if health.simulated else f"{name} {health.vendor}".strip()


def self_test_words(test: SelfTest) -> str:
    """``PASSED  full, 2026-11-24 12:00:00 UTC``."""
    return f"{SELF_TEST[test.result]}  {self_test_details(test)}"


def self_test_details(test: SelfTest) -> str:
    """How and when the self-test ran, and what the TPM said where it did not pass."""
    when = f", {when_words(test.time)}" if test.time else ""
    code = f", response code 0x{test.code:x}" if test.code else ""
    data = f", test result bytes {test.data}" if code and test.data else ""
    return f"{test.kind}{when}{code}{data}"


def when_words(iso: str) -> str:
    """An ISO 8601 time in UTC as people read it, to the second."""
    return iso[:19].replace("T", " ") + " UTC"


def lockout_words(lockout: Lockout | None) -> str:
    """``OPEN  0 of 3 tries used, one back per 1000 s``."""
    if lockout is None:
        return "-"
    return f"{lockout_state(lockout)}  {lockout_details(lockout)}"


def lockout_state(lockout: Lockout) -> str:
    """The state word of dictionary-attack protection."""
    return "LOCKED" if lockout.locked else "OPEN"


def lockout_details(lockout: Lockout) -> str:
    """How many wrong passwords count, and when one is forgiven."""
    used = f"{lockout.failed_tries} of {lockout.max_tries} tries used"
    recovery = f"recovery {lockout.recovery_s} s" if lockout.recovery_s else "recovery: a restart"
    return f"{used}, one back per {lockout.interval_s} s, {recovery}"


def reset_danger(lockout: Lockout) -> tuple[str, str]:
    """Why resetting the lock-out is not for every day."""
    return (
        "It gives whoever has been guessing passwords all tries back: first find out who tried.",
        "A wrong lockout password makes the TPM refuse every one, the right one too, "
        f"{_recovery(lockout)}.",
    )


def _recovery(lockout: Lockout | None) -> str:
    if lockout is None:
        return "for a time that it does not tell"
    return f"for {lockout.recovery_s} s" if lockout.recovery_s else "until its next restart"


def guard_words(*, password: bool, noda: bool) -> str:
    """Whether a new key is subject to the lock-out, and why."""
    if not password:
        return "no password: nothing to guess, no lock-out"
    if noda:
        return "wrong passwords do not count: whoever has the board may guess without end"
    return "wrong passwords count towards the TPM's lock-out, so guessing ends after a few"


def try_words(guard: AttemptCost) -> str:
    """What a wrong password would cost, told before one is typed."""
    lockout = guard.lockout
    if guard.needs == "source":
        return "It only opens the file: the TPM never sees it, and nobody counts wrong ones."
    if guard.needs == "lockout":
        return f"Be sure of it: after ONE wrong one the TPM refuses every one {_recovery(lockout)}."
    if guard.counts is False:
        return "Wrong ones do not count towards the TPM's lock-out."
    left = "the TPM does not say how many tries are left"
    if lockout:
        left = f"tries left: {lockout.tries_left} of {lockout.max_tries}"
    certain = "counts" if guard.counts else "may count"
    return f"A wrong one {certain} towards the TPM's lock-out; {left}."


def last_try_words(lockout: Lockout | None) -> str:
    """What a wrong password does that is the last one."""
    each = f"; one try is forgiven each {lockout.interval_s} s" if lockout else ""
    return f"LAST TRY: if it is wrong, the TPM refuses every protected key{each}."


def locked_words(lockout: Lockout | None) -> tuple[str, NextStep]:
    """Why no password is asked for now, and what to do."""
    wait = f"wait {lockout.interval_s} s until one is forgiven" if lockout else "wait"
    return (
        "too many wrong passwords: the TPM refuses the right one, too, so none is asked for",
        NextStep(Action.RESET_LOCKOUT, text=f"{wait}, or reset the lock-out ({{}})"),
    )


def import_warning(source: str) -> tuple[str, str]:
    """What a key that was made elsewhere can never be, and where it still is."""
    return (
        BETTER_MADE_HERE,
        f"the source file is still there: {printable(source)}; destroy it and its copies where "
        "nothing else needs them",
    )


def mode_words(mode: str | None) -> str | None:
    """What to do where others than the owner may read a key file; None where only the owner may."""
    if mode is None or not int(mode, 8) & 0o077:
        return None
    return f"others may use the file ({mode}): chmod 600"


def hierarchy_words(hierarchies: Mapping[str, Hierarchy]) -> str:
    """``owner no password, endorsement PASSWORD``."""
    return ", ".join(f"{name} {_hierarchy_state(one)}" for name, one in hierarchies.items())


def _hierarchy_state(hierarchy: Hierarchy) -> str:
    if not hierarchy.enabled:
        return "off"
    if hierarchy.auth_set is None:
        return "not told"
    return "password set" if hierarchy.auth_set else "no password"


def encryption_words(has_sessions: bool | None) -> str:
    """Whether passwords are hidden on their way to the TPM."""
    if has_sessions is None:
        return "not told"
    if has_sessions:
        return "passwords are used in encrypted sessions"
    return "this TPM lacks encrypted sessions (AES-128-CFB, SHA-256): no password is sent to it"


def room_words(room: Room | None) -> str:
    """``2 used, room for 63``."""
    return "-" if room is None else f"{room.used} used, room for {room.available}"


def persistent_words(room: Room) -> str:
    """``1 persistent key, room for 64``."""
    return f"{room.used} persistent key{'' if room.used == 1 else 's'}, room for {room.available}"


def auth_word(auth: str | None) -> str:
    """Whether a key asks for a password."""
    return {"none": "no", "password": "yes", "policy": "policy"}.get(auth or "", "?")


def seconds_words(seconds: float) -> str:
    """A duration, short: ``45 s``, ``3 min``, ``2 h``, ``5 d``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size_words(count: int) -> str:
    """A number of bytes, short: ``812 B``, ``14 kB``, ``3.7 GB``; in powers of 1000, as disks are
    sold."""
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= size:
            number = count / size
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{count} B"


def disks_words(disks: Disks) -> str:
    """Why no removable disk is offered; empty where one is."""
    if disks.mounted:
        return ""
    if disks.silent:
        return "a disk does not answer: pull it out, then look again"
    if not disks.unmounted:
        return "no removable disk is plugged in"
    first, *more = disks.unmounted
    which = f"{first} and {len(more)} more are" if more else f"{first} is"
    return f"{which} there and not mounted: mount {first} /mnt"
