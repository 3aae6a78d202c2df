"""Probes of the TPM itself: which one it is, whether it answers, and its state."""

from __future__ import annotations

from tpmconsole.board.doctor.examination import Examination
from tpmconsole.board.phrases import (
    chip_words,
    hierarchy_words,
    lockout_details,
    persistent_words,
    room_words,
    self_test_words,
)
from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.finding import Finding, fail, ok, skipped, warn
from tpmconsole.settings import TCTI_VARIABLES
from tpmconsole.text import seconds_words
from tpmconsole.tpm.model import SelfTestResult, TpmHealth
from tpmconsole.tpm.tcti import choose


def tcti(examination: Examination) -> Finding:
    """Which TCTI is used, and why?"""
    environment = examination.around.environment
    evidence = [f"{name}={environment[name]}" for name in TCTI_VARIABLES if environment.get(name)]
    board = examination.board
    try:
        connection = board.tpm.connection or choose(board.settings)
    except ConsoleError as error:
        causes = error.cause.split("; ")
        return fail(str(error), error.remedy, *(causes if len(causes) > 1 else ()), *evidence)
    examination.connection = connection
    mark = ", SIMULATED" if connection.simulated else ""
    first, *others = connection.why.split("; ")
    return ok(f"{connection.tcti} ({first}){mark}", *others, *evidence)


def answers(examination: Examination) -> Finding:
    """Does the TPM answer?"""
    health = examination.board.status()
    examination.health = health
    evidence = (
        f"firmware {health.firmware}, specification {health.family} rev {health.revision}",
        f"TCTI {health.tcti}",
    )
    if health.mode == "failure":
        return fail(
            f"{chip_words(health)} is in failure mode: it refuses nearly everything",
            "power the board off and on; if it happens again, replace the chip",
            *evidence,
        )
    mark = ", SIMULATED" if health.simulated else ""
    return ok(f"{chip_words(health)}{mark}", *evidence, *_since(health))


def _since(health: TpmHealth) -> tuple[str, ...]:
    clock = health.clock
    if clock is None:
        return ()
    return (f"{clock.reset_count} resets and {clock.restart_count} restarts so far",)


def self_test(examination: Examination) -> Finding:
    """Has it passed its self-test? Asked in failure mode too: the result says what failed."""
    health = examination.health
    if health is None:
        return skipped("needs a TPM that answers")
    result, text = health.self_test.result, self_test_words(health.self_test)
    evidence = (f"test result bytes {health.self_test.data}",) if health.self_test.data else ()
    if result is SelfTestResult.FAILED:
        return fail(
            text, "power the board off and on; if it fails again, replace the chip", *evidence
        )
    if result is SelfTestResult.UNKNOWN:
        return skipped(text, NextStep(Action.SELF_TEST, text="run: {}"))
    if result is SelfTestResult.NOT_RUN:
        return warn(text, NextStep(Action.SELF_TEST, text="run: {}"), *evidence)
    return ok(text, *evidence)


def _of(examination: Examination) -> TpmHealth:
    assert examination.health is not None  # noqa: S101 - the probe "tpm" was needed
    return examination.health


def lockout(examination: Examination) -> Finding:
    """Has a wrong password locked the TPM, or could the next one?"""
    state = _of(examination).lockout
    if state is None:
        return skipped("the TPM does not say")
    details = lockout_details(state)
    evidence = (f"lockout counter {state.failed_tries} of {state.max_tries}",)
    if state.off or (state.locked and state.max_tries == 0):
        remedy = (
            "set attempts and times for this board with the lockout password: "
            "tpm2_dictionarylockout -s -n 10 -t 7200 -l 86400"
        )
        return (warn if state.off else fail)(details, remedy, *evidence)
    if state.locked:
        wait = f"wait {seconds_words(state.interval_s)}, or reset it: {{}}"
        return fail(f"locked: {details}", NextStep(Action.RESET_LOCKOUT, text=wait), *evidence)
    if state.failed_tries:
        remedy = (
            "find out who gave wrong passwords, or when power was lost; more of this may lock "
            "every protected key"
        )
        return warn(details, remedy, *evidence)
    return ok(details, *evidence)


def hierarchies(examination: Examination) -> Finding:
    """Are the hierarchies on, and which need a password?"""
    found = _of(examination).hierarchies
    if not found:
        return skipped("the TPM does not say")
    words = hierarchy_words(found)
    owner = found.get("owner")
    if owner is not None and not owner.enabled:
        return fail(
            f"the owner hierarchy is off: none of our keys can be used ({words})",
            "switch it on in the firmware set-up (clearing the TPM would lose every key)",
            words,
        )
    if owner is not None and owner.auth_set:
        return ok(f"{words}: making a key needs the owner password", words)
    return ok(words)


def room(examination: Examination) -> Finding:
    """Is there room for another key?"""
    health = _of(examination)
    if health.persistent is None:
        return skipped("the TPM does not say")
    evidence = (
        f"persistent: {room_words(health.persistent)}",
        f"transient: {room_words(health.transient)}",
        f"handles in use: {' '.join(health.persistent_handles or ()) or 'none'}",
    )
    if health.persistent.available == 0:
        return warn("no room for a persistent key", "evict one, or use key files", *evidence)
    if health.transient is not None and health.transient.available == 0:
        return warn(
            "no free slot for a loaded key: another program leaves its keys in the TPM",
            "use a resource manager (/dev/tpmrm0, tpm2-abrmd), or flush: tpm2_flushcontext -t",
            *evidence,
        )
    return ok(persistent_words(health.persistent), *evidence)
