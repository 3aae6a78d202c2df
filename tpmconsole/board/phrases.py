"""The words for states and figures, the same on the screen and in a command's answer."""

from __future__ import annotations

from collections.abc import Mapping

from tpmconsole.errors import Action, NextStep
from tpmconsole.system.disks import Disks
from tpmconsole.text import printable, seconds_words
from tpmconsole.tpm.auth import AttemptCost
from tpmconsole.tpm.model import Hierarchy, Lockout, Room, SelfTest, SelfTestResult, TpmHealth

SELF_TEST = {
    SelfTestResult.PASSED: "PASSED",
    SelfTestResult.FAILED: "FAILED",
    SelfTestResult.NOT_RUN: "NOT RUN",
    SelfTestResult.UNKNOWN: "NOT TOLD",
}

# The state of a session's list of revoked certificates, by the state of a finding.
CRL_STATES = {"ok": "", "warn": "CRL ENDS", "fail": "CRL ENDED"}

BETTER_MADE_HERE = (
    "a key from a file existed outside the TPM: anyone with a copy can impersonate this board; a "
    "key made in the TPM has never been anywhere else"
)

MOVED_FOR_GOOD = (
    "the file is removed, and a key cannot leave a TPM: this cannot be undone, and evicting the "
    "key destroys it"
)

PROTECTION_OFF = "protection against guessing is switched off: wrong passwords do not count"
GUESSING = "anyone with the board can guess forever"
# A power loss after a key that counts was used may have hidden a wrong password (TPM 2.0 Part 1,
# 19.8.5), so the TPM counts it as one.
WHY_TRIES_COUNT = "by wrong passwords, or by power lost while a key that counts was in use"
AGAINST_LOST_POWER = "shut the board down properly, or use keys without lock-out (noDA)"

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
    """The TPM's maker and model; for a simulator, its name is enough."""
    name = health.manufacturer_name
    return name if health.simulated else f"{name} {health.vendor}".strip()


def self_test_words(test: SelfTest) -> str:
    """``PASSED  full, 2026-11-24 12:00:00 UTC``."""
    return f"{SELF_TEST[test.result]}  {self_test_details(test)}"


def self_test_details(test: SelfTest) -> str:
    """How and when the self-test ran, and what the TPM answered if it did not pass."""
    when = f", {when_words(test.time)}" if test.time else ""
    code = f", response code 0x{test.code:x}" if test.code else ""
    data = f", test result bytes {test.data}" if code and test.data else ""
    return f"{test.kind}{when}{code}{data}"


def when_words(iso: str) -> str:
    """An ISO 8601 time in UTC for people to read, to the second."""
    return iso[:19].replace("T", " ") + " UTC"


def lockout_words(lockout: Lockout | None) -> str:
    """``OPEN  0 of 3 attempts used, 1 back per 1000 s``."""
    if lockout is None:
        return "-"
    return f"{lockout_state(lockout)}  {lockout_details(lockout)}"


def lockout_state(lockout: Lockout) -> str:
    """The state of the dictionary-attack protection."""
    if lockout.locked:
        return "LOCKED"
    return "OFF" if lockout.off else "OPEN"


def lockout_details(lockout: Lockout) -> str:
    """How many attempts are used up, why, and when one is forgiven; or that they do not count."""
    if lockout.off:
        return f"{PROTECTION_OFF}, so {GUESSING}"
    if lockout.max_tries == 0:
        return "set to allow no attempts: keys that count are refused until that is changed"
    used = f"{lockout.failed_tries} of {lockout.max_tries} attempts used"
    recovery = "recovery: a restart"
    if lockout.recovery_s:
        recovery = f"recovery {seconds_words(lockout.recovery_s)}"
    times = f"{used}, 1 back per {seconds_words(lockout.interval_s)}, {recovery}"
    return f"{times}; {WHY_TRIES_COUNT}: {AGAINST_LOST_POWER}" if lockout.failed_tries else times


def reset_danger(lockout: Lockout) -> tuple[str, str]:
    """Why the lock-out should not be reset as a routine."""
    return (
        "It gives an attacker who guesses passwords all attempts back: first find out who tried, "
        "or whether the power was lost.",
        "After one wrong lockout password, the TPM refuses even the right one "
        f"{_recovery(lockout)}.",
    )


def _recovery(lockout: Lockout | None) -> str:
    if lockout is None:
        return "for an unknown time"
    if not lockout.recovery_s:
        return "until its next restart"
    return f"for {seconds_words(lockout.recovery_s)}"


def guard_words(*, password: bool, noda: bool, lockout: Lockout | None = None) -> str:
    """Whether a key is subject to the lock-out, and why.

    Args:
        lockout: the TPM's protection now; None if it is not known.
    """
    if not password:
        return "no password: nothing to guess, no lock-out"
    if lockout is not None and lockout.off:
        return f"the TPM's {PROTECTION_OFF}, so {GUESSING}"
    if noda:
        return f"wrong passwords do not count: {GUESSING}"
    return "wrong passwords count towards the TPM's lock-out, so only a few can be tried"


def try_words(guard: AttemptCost) -> str:
    """What a wrong password would cost, to show before one is typed."""
    lockout = guard.lockout
    if guard.needs == "source":
        return "It only opens the file: the TPM never sees it, and wrong passwords do not count."
    if guard.needs == "lockout":
        return f"Be sure of it: after ONE wrong password the TPM refuses all {_recovery(lockout)}."
    if guard.counts is False:
        return "Wrong passwords do not count towards lock-out."
    if lockout and lockout.off:
        return f"The TPM's {PROTECTION_OFF}."
    left = "the TPM does not report how many attempts are left"
    if lockout:
        left = f"attempts left: {lockout.tries_left} of {lockout.max_tries}"
    certain = "counts" if guard.counts else "may count"
    return f"A wrong password {certain} towards lock-out; {left}."


def last_try_words(lockout: Lockout | None) -> str:
    """What happens if the last attempt fails."""
    each = f"; one is forgiven each {seconds_words(lockout.interval_s)}" if lockout else ""
    return f"LAST ATTEMPT: if it fails, the TPM refuses all protected keys{each}."


def locked_words(lockout: Lockout | None) -> tuple[str, NextStep]:
    """Why passwords are not asked for now, and what to do."""
    wait = f"wait {seconds_words(lockout.interval_s)} until one is forgiven" if lockout else "wait"
    return (
        "the TPM now refuses even the right password: too many were wrong, or "
        "the power was lost while a key that counts was in use",
        NextStep(Action.RESET_LOCKOUT, text=f"{wait}, or reset the lock-out ({{}})"),
    )


def import_warning(source: str) -> tuple[str, str]:
    """Why a key made elsewhere is less safe, and where a copy of it still is."""
    return (
        BETTER_MADE_HERE,
        f"the source file still exists: {printable(source)}; destroy it and its copies if "
        "nothing else needs them",
    )


def mode_words(mode: str | None) -> str | None:
    """What to do if other users can read a key file; None if only its owner can."""
    if mode is None or not int(mode, 8) & 0o077:
        return None
    return f"other users can access the file ({mode}): chmod 600"


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
    """Whether passwords are encrypted when they are sent to the TPM."""
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
    """Whether a key needs a password."""
    return {"none": "no", "password": "yes", "policy": "policy"}.get(auth or "", "?")


def size_words(count: int) -> str:
    """A short number of bytes in powers of 1000, like disks: ``812 B``, ``14 kB``, ``3.7 GB``."""
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= size:
            number = count / size
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{count} B"


def disks_words(disks: Disks) -> str:
    """Why no removable disk is offered; empty if one is."""
    if disks.mounted:
        return ""
    if disks.silent:
        return "a disk does not answer: unplug it, then look again"
    if not disks.unmounted:
        return "no removable disk is plugged in"
    first, *more = disks.unmounted
    which = f"{first} and {len(more)} more are" if more else f"{first} is"
    return f"{which} plugged in but not mounted: mount {first} /mnt"
