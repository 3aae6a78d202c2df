"""Save password attempts: each wrong password brings the whole TPM closer to its lock-out.

Loading a key authorises its parent. If the parent has a password and not the noDA attribute, each
load without that password costs an attempt (response code 0x98e); after the last one the TPM
refuses all protected keys. So an empty password is tried only once for such a parent, never as the
last attempt, and not at all when many keys are checked that the user did not select one by one.

Resetting the lock-out needs the lockout authorisation, which must never be guessed: after a wrong
one the TPM refuses every one, even the right one, for TPM2_PT_LOCKOUT_RECOVERY seconds (Part 1,
19.8.6). So a password that is known to be wrong is never sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tpm2_pytss import ESAPI, ESYS_TR, TPM2_PT, TSS2_Exception

from tpmconsole.errors import Action, NextStep
from tpmconsole.secret import Password
from tpmconsole.text import seconds_words
from tpmconsole.tpm.auth import check_password
from tpmconsole.tpm.errors import KeyUnusableError
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.model import Lockout
from tpmconsole.tpm.responses import Code, base, is_from_tpm, refuses_password
from tpmconsole.tpm.worker.jobs import capability
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.salted import authorised

# The second half: tpm2_encodeobject marks keys without a password as having one.
GIVE_KEYS = NextStep(
    Action.GIVE_NO_PASSWORD, text="give the key's password, or say that it has none ({})"
)
LOCKOUT_AUTH, _IN_LOCKOUT = 1 << 2, 1 << 9  # TPMA_PERMANENT, Part 2, 8.6

# Names of parents that refused the empty password, while this process lives.
_REFUSED: set[bytes] = set()
# Names of parents that accepted it: using them costs nothing.
_PROVEN: set[bytes] = set()


def lockout(esapi: ESAPI) -> Lockout:
    """The TPM's protection as it is now."""
    return lockout_of(capability.properties(esapi, TPM2_PT.VAR))


def lockout_of(state: Mapping[int, int]) -> Lockout:
    """The same from the TPM's variable properties (Part 2, 6.13)."""
    return Lockout(
        locked=bool(state.get(TPM2_PT.PERMANENT, 0) & _IN_LOCKOUT),
        failed_tries=state.get(TPM2_PT.LOCKOUT_COUNTER, 0),
        max_tries=state.get(TPM2_PT.MAX_AUTH_FAIL, 0),
        interval_s=state.get(TPM2_PT.LOCKOUT_INTERVAL, 0),
        recovery_s=state.get(TPM2_PT.LOCKOUT_RECOVERY, 0),
    )


def check_guess(
    esapi: ESAPI,
    area: public_area.PublicArea,
    what: str,
    *,
    needs: str = "key",
    try_empty: bool = True,
) -> None:
    """Refuse to try an empty password without being asked to, or as the last attempt.

    Args:
        what: the key, for people.
        needs: which password would help, as in ``ConsoleError``.
        try_empty: as in ``Auth``.

    Raises:
        KeyUnusableError: it might cost an attempt, or lock the TPM.
    """
    if area.has_noda:
        return
    if not try_empty:
        raise KeyUnusableError(
            "needs-password",
            f"{what} may have a password, and a wrong one counts: nothing was sent",
            GIVE_KEYS if needs == "key" else "give the parent's password",
            needs=needs,
        )
    if lockout(esapi).last_try:
        raise KeyUnusableError(
            "needs-password",
            f"{what} may have a password, and a wrong one would now lock the TPM",
            "give the password, or wait until attempts are forgiven (status shows when)",
            needs=needs,
        )


def check_last(esapi: ESAPI, area: public_area.PublicArea, what: str) -> None:
    """Refuse to send a password if a wrong one would lock the TPM.

    Args:
        what: the key, for people.

    Raises:
        KeyUnusableError: this is the last attempt.
    """
    if not area.has_noda and lockout(esapi).last_try:
        raise KeyUnusableError(
            "last-try",
            f"a wrong password for {what} would now lock out every protected key",
            "make sure of the password, or wait until attempts are forgiven (status shows when)",
            needs="consent",
        )


@contextmanager
def sparing(
    esapi: ESAPI, area: public_area.PublicArea, handle: int, *, try_empty: bool
) -> Iterator[None]:
    """Use a persistent parent without a password; fail at most once because it has one.

    Args:
        area: the parent's public area.
        handle: the parent's handle.
        try_empty: as in ``Auth``.

    Raises:
        KeyUnusableError: the parent has a password; or it might have one, and an empty one must
            not be tried or would be the last attempt.
    """
    name, what = area.name, f"the key's parent 0x{handle:08x}"
    if name in _REFUSED:
        raise _protected(what)
    if name not in _PROVEN:
        check_guess(esapi, area, what, needs="parent", try_empty=try_empty)
    try:
        yield
    except TSS2_Exception as error:
        rc = int(error.rc)
        if refuses_password(rc):
            _REFUSED.add(name)
            raise _protected(what, rc) from error
        raise
    _PROVEN.add(name)


def _protected(what: str, rc: int | None = None) -> KeyUnusableError:
    return KeyUnusableError(
        "needs-password",
        f"{what} has a password",
        "give the parent's password",
        response_code=rc,
        needs="parent",
    )


def reset_lockout(context: Context, password: Password | None) -> None:
    """TPM2_DictionaryAttackLockReset (Part 3, 25.2)."""
    check_password(password)

    def work(esapi: ESAPI) -> None:
        state = capability.properties(esapi, TPM2_PT.VAR)
        _check_fits(bool(state.get(TPM2_PT.PERMANENT, 0) & LOCKOUT_AUTH), password)
        try:
            authorised(esapi, password).dictionary_attack_lock_reset(ESYS_TR.LOCKOUT)
        except TSS2_Exception as error:
            raise _explained(error, state.get(TPM2_PT.LOCKOUT_RECOVERY, 0)) from error

    context.run(work)


def _check_fits(is_set: bool, password: Password | None) -> None:
    """Refuse to send what the TPM is known to refuse.

    Raises:
        KeyUnusableError: a password is needed but not given, or given but not set.
    """
    if is_set and not password:
        raise KeyUnusableError(
            "needs-password",
            "the TPM's lockout authorisation is set; nothing was sent",
            "give the lockout password, but only if you are sure of it",
            needs="lockout",
        )
    if password and not is_set:
        raise KeyUnusableError(
            "wrong-password",
            "the TPM's lockout authorisation is not set; nothing was sent",
            "reset the lock-out without a password",
        )


def _explained(error: TSS2_Exception, recovery_s: int) -> Exception:
    """Why a reset was refused; an error that is not about the password is returned unchanged."""
    rc = int(error.rc)
    until = f"for {seconds_words(recovery_s)}" if recovery_s else "until the TPM's next restart"
    if refuses_password(rc):
        return KeyUnusableError(
            "wrong-password",
            f"the TPM refused the lockout password, and now refuses any {until}",
            f"find the right one, and wait {until.removeprefix('for ')} to try again",
            response_code=rc,
        )
    if is_from_tpm(rc) and base(rc) == Code.LOCKOUT:
        return KeyUnusableError(
            "locked-out",
            f"a wrong lockout password was tried earlier: any is refused {until} after it",
            "wait; meanwhile, wrong passwords of keys are forgiven (status shows how fast)",
            response_code=rc,
        )
    unknown: Exception = error
    return unknown
