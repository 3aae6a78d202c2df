"""Probes of each identity: does the TPM sign with its key, and would its certificate be trusted?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from tpmconsole import clock
from tpmconsole.board.doctor.examination import Examination
from tpmconsole.board.open_key import checked_source, open_key
from tpmconsole.board.pins import KeyChangedError
from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.finding import Finding, fail, ok, skipped, warn
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import algorithm_words

if TYPE_CHECKING:
    from cryptography import x509

    from tpmconsole.finding import Finding
    from tpmconsole.identity.store import Identity

# All signatures together: a slow chip with many keys must not make the doctor slow.
SIGNING_S = 3.0
_OF_THE_CHAIN = ("algorithms", "authority-key-identifier", "trust", "chain")
_AS_ITS_OWNER = "run as the user that owns the folder, or as root"
_GRAVE = {"fail": 2, "warn": 1, "ok": 0}


def folders(examination: Examination) -> Iterator[Finding]:
    """Is every identity's folder complete, and what is its state?"""
    found = examination.board.summaries()
    if not found:
        yield skipped("there is no identity yet", NextStep(Action.CREATE, text="make one: {}"))
    for one in found:
        where = f"{algorithm_words(one.algorithm)}, {one.where}"
        if one.key_lost:
            forget = NextStep(
                Action.FORGET, one.name, "forget it ({}), then make and certify a new key"
            )
            backup = "" if one.where.startswith("0x") else "restore key.pem from a backup, or "
            yield fail(f"{one.name}: {one.detail}", backup + forget, where)
        elif one.state == "UNKNOWN":
            yield skipped(f"{one.name}: {one.detail}", _AS_ITS_OWNER)
        elif one.state == "ERROR":
            yield fail(f"{one.name}: {one.detail}", "restore the file from a backup", where)
        elif one.state == "NO TRUST":
            add = NextStep(Action.ADD_TRUST, one.name, "add the CA of its peers: {}")
            yield warn(f"{one.name}: {one.detail}", add, where)
        else:
            yield ok(f"{one.name}: {one.state.lower()}, {one.detail}", where)


def keys(examination: Examination) -> Iterator[Finding]:
    """Is each key its identity's own, and does it come from where the record says?"""
    identities = examination.board.identities.all()
    if not identities:
        yield skipped("there is no identity yet")
    for identity in identities:
        if identity.closed:
            yield skipped(f"{identity.name}: not compared: {identity.problem}", _AS_ITS_OWNER)
        else:
            yield _key(examination, identity)


def _key(examination: Examination, identity: Identity) -> Finding:
    from tpmconsole.x509.comparisons import check_origin

    try:
        key = open_key(examination.board, identity)
    except KeyChangedError as error:
        return fail(f"{identity.name}: {error}", error.remedy)
    except ConsoleError as error:
        return skipped(f"{identity.name}: not compared: {error}", error.remedy)
    origin = check_origin(identity.origin, key.area.lacks)
    evidence = (f"Name {key.area.name.hex()}", f"{origin.state} key-origin: {origin.text}")
    if origin.state == "fail":
        return fail(f"{identity.name}: {origin.text}", origin.remedy, *evidence)
    if identity.pin is None:
        return warn(
            f"{identity.name}: not pinned: a different key in its place would go unnoticed",
            NextStep(
                Action.CREATE, text="have a new key certified, which is pinned when it is made: {}"
            ),
            *evidence,
        )
    made = "made in the TPM" if identity.origin == "tpm" else identity.origin
    return ok(f"{identity.name}: the right key, {made}", *evidence)


def signatures(examination: Examination) -> Iterator[Finding]:
    """Let the TPM sign with each key that needs no password, and verify the signature."""
    identities = examination.board.identities.all()
    if not identities:
        yield skipped("there is no identity yet")
    started = time.monotonic()
    for identity in identities:
        if identity.closed:
            yield skipped(f"{identity.name}: {identity.problem}", _AS_ITS_OWNER)
            continue
        try:
            why_not = _why_not_tried(identity)
        except ConsoleError as error:
            yield fail(f"{identity.name}: {error}", error.remedy)
            continue
        if why_not is None and time.monotonic() - started > SIGNING_S:
            why_not = f"not tested: the keys before it took {SIGNING_S:g} s"
        if why_not is not None:
            yield skipped(
                f"{identity.name}: {why_not}", NextStep(Action.CHECK_KEY, text="test it alone: {}")
            )
        else:
            yield _signature(examination, identity)


def _why_not_tried(identity: Identity) -> str | None:
    """Why a signature could cost a password attempt; None if it is safe.

    Raises:
        ConsoleError: the key file is gone or damaged.
    """
    if identity.auth == "password":
        return "its key needs a password"
    pem = identity.key_pem
    if pem is None:  # at a handle, and made without a password
        return None
    from tpmconsole.tpm import keyfile

    key = keyfile.parse(pem)
    # A hierarchy's primary key has no password; a persistent parent may have one, and a wrong
    # password would count towards lock-out.
    if key.parent >> 24 != _HIERARCHY:
        return f"its parent 0x{key.parent:08x} may have a password, and a guess would count"
    return None


_HIERARCHY = 0x40  # TPM 2.0 Part 2, 7.4: TPM_HT_PERMANENT


def _signature(examination: Examination, identity: Identity) -> Finding:
    board, started = examination.board, time.monotonic()
    try:
        # The record says that the key has no password; if it is pinned, that holds for this key.
        auth = Auth(spend_last_attempt=False, try_empty=identity.pin is not None)
        answer = board.tpm.check_key(checked_source(board, identity), auth)
    except ConsoleError as error:
        return fail(f"{identity.name}: {error}", error.remedy)
    evidence = (
        f"{(time.monotonic() - started) * 1000:.0f} ms, {algorithm_words(identity.algorithm)}"
    )
    if answer.usable:
        return ok(f"{identity.name}: {answer.reason}", evidence)
    if answer.needs:
        return skipped(
            f"{identity.name}: {answer.reason}", NextStep(Action.CHECK_KEY, text="give it: {}")
        )
    remedy = NextStep(
        Action.CREATE, text="use the key on the board that made it, or make a new one: {}"
    )
    return fail(f"{identity.name}: {answer.reason}", remedy, f"answer: {answer.answer}")


def certificates(examination: Examination) -> Iterator[Finding]:
    """Does each certificate belong to its key, and would it be accepted?"""
    yield from _judged(examination, chain=False)


def trust(examination: Examination) -> Iterator[Finding]:
    """Does each certificate lead to a trust anchor, and are peers trusted?"""
    yield from _judged(examination, chain=True)


def _judged(examination: Examination, *, chain: bool) -> Iterator[Finding]:
    identities = examination.board.identities.all()
    if not any(one.has_certificate for one in identities):
        yield skipped("no identity has a certificate yet")
        return
    for identity in identities:
        if not identity.has_certificate:
            continue
        try:
            verdicts = _verdicts(examination, identity)
        except ConsoleError as error:
            yield skipped(f"{identity.name}: not checked: {error}", error.remedy)
            continue
        yield _of_verdicts(identity, verdicts, chain=chain)


def _of_verdicts(identity: Identity, verdicts: Sequence[Finding], *, chain: bool) -> Finding:
    mine = [one for one in verdicts if (one.name in _OF_THE_CHAIN) is chain]
    if not mine:  # nothing more is checked of a certificate for another key
        return skipped(f"{identity.name}: needs a certificate that belongs to its key")
    evidence = [f"{one.state} {one.name}: {one.text}" for one in mine]
    gravest = max(mine, key=lambda one: _GRAVE[one.state])
    if gravest.state == "ok":
        last = mine[-1].text if chain else next(one.text for one in mine if one.name == "expiry")
        return ok(f"{identity.name}: {last}", *evidence)
    say = fail if gravest.state == "fail" else warn
    return say(f"{identity.name}: {gravest.text}", gravest.remedy, *evidence)


def _verdicts(examination: Examination, identity: Identity) -> Sequence[Finding]:
    from tpmconsole.board.addresses import reached_at
    from tpmconsole.identity.identity import kept_chain
    from tpmconsole.x509.judge import judge

    board = examination.board
    bundle = kept_chain(identity)
    verdicts = judge(
        bundle,
        public_key=open_key(board, identity).public,
        trust=board.identities.trust_certificates(identity.name),
        role=identity.role or "client",
        now=clock.now(),
        soon=timedelta(days=board.settings.warn_days),
        made=identity.made,
        reached=reached_at(board, identity.name),
    ).verdicts
    return [
        _swapped(examination, identity, bundle) or one
        if one.name == "key-match" and one.state == "fail"
        else one
        for one in verdicts
    ]


def _swapped(
    examination: Examination, identity: Identity, bundle: Sequence[x509.Certificate]
) -> Finding | None:
    """The finding on a certificate that belongs to another identity's key."""
    board = examination.board
    for other in board.identities.all():
        if other.name == identity.name:
            continue
        try:
            key = open_key(board, other).public
        except ConsoleError:
            continue  # what is wrong with that key is reported with its own identity
        if any(one.public_key() == key for one in bundle):
            return fail(
                f"its certificate belongs to the key of '{other.name}': the two were swapped",
                NextStep(Action.IMPORT, other.name, "import each where it belongs: {}"),
                name="key-match",
            )
    return None
