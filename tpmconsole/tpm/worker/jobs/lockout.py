"""Resetting the lock-out, with the lockout authorisation that must never be guessed.

A wrong one is refused, and then every one, the right one too, for TPM2_PT_LOCKOUT_RECOVERY seconds
(Part 1, 19.8.6). So nothing is sent that is known to be wrong.
"""

from __future__ import annotations

from tpm2_pytss import ESAPI, ESYS_TR, TPM2_PT, TSS2_Exception

from tpmconsole.secret import Password
from tpmconsole.tpm.auth import check_password
from tpmconsole.tpm.errors import KeyUnusableError
from tpmconsole.tpm.responses import Code, base, is_from_tpm
from tpmconsole.tpm.worker.jobs import capability
from tpmconsole.tpm.worker.jobs.auth_values import authorised
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.load_key import refuses_password

_LOCKOUT_AUTH = 1 << 2  # TPMA_PERMANENT, Part 2, 8.6


def reset_lockout(context: Context, password: Password | None) -> None:
    """TPM2_DictionaryAttackLockReset (Part 3, 25.2)."""
    check_password(password)

    def work(esapi: ESAPI) -> None:
        state = capability.properties(esapi, TPM2_PT.VAR)
        _check_fits(bool(state.get(TPM2_PT.PERMANENT, 0) & _LOCKOUT_AUTH), password)
        try:
            with authorised(esapi, ESYS_TR.LOCKOUT, password):
                esapi.dictionary_attack_lock_reset(ESYS_TR.LOCKOUT)
        except TSS2_Exception as error:
            raise _explained(error, state.get(TPM2_PT.LOCKOUT_RECOVERY, 0)) from error

    context.run(work)


def _check_fits(is_set: bool, password: Password | None) -> None:
    """Refuse to send what the TPM is known to refuse.

    Raises:
        KeyUnusableError: a password is needed, or there is none to give.
    """
    if is_set and not password:
        raise KeyUnusableError(
            "needs-password",
            "the TPM's lockout authorisation is set; nothing was tried",
            "give the lockout password, and only where you are sure of it",
            needs="lockout",
        )
    if password and not is_set:
        raise KeyUnusableError(
            "wrong-password",
            "the TPM's lockout authorisation is not set; nothing was tried",
            "reset the lock-out without a password",
        )


def _explained(error: TSS2_Exception, recovery_s: int) -> Exception:
    """Why a reset was refused; whatever is not about the password stays as it is."""
    rc = int(error.rc)
    until = f"for {recovery_s} s" if recovery_s else "until the TPM's next restart"
    if refuses_password(error):
        return KeyUnusableError(
            "wrong-password",
            f"the TPM refused the lockout password, and now refuses every one {until}",
            f"find the right one and wait {until.removeprefix('for ')} before the next try",
            response_code=rc,
        )
    if is_from_tpm(rc) and base(rc) == Code.LOCKOUT:
        return KeyUnusableError(
            "locked-out",
            f"a wrong lockout password was tried before: every one is refused {until} after it",
            "wait; wrong passwords of keys are forgiven meanwhile (status shows how fast)",
            response_code=rc,
        )
    unknown: Exception = error
    return unknown
