"""What a wrong password would cost: found out before one is asked for, spending no try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpmconsole.tpm.auth import AttemptCost
from tpmconsole.tpm.model import KeyRef

if TYPE_CHECKING:
    from tpmconsole.tpm.client import Tpm


def attempt_cost(tpm: Tpm, needs: str, key: KeyRef | None = None) -> AttemptCost:
    """Whether a wrong password counts towards the lock-out, and how many tries are left.

    Args:
        needs: whose password, as in ``ConsoleError``.
        key: the key that is to be used, for ``key`` and ``parent``.

    Raises:
        ConsoleError: the TPM cannot be reached.
    """
    if needs == "source":  # the TPM has nothing to do with it
        return AttemptCost(needs, counts=False)
    # Passwords of hierarchies are not subject to the lock-out (Part 1, 19.8.3); the lockout
    # authorisation has a rule of its own.
    counts = False if needs in ("hierarchy", "lockout") else _counts(tpm, needs, key)
    return AttemptCost(needs, counts, tpm.health().lockout)


def _counts(tpm: Tpm, needs: str, ref: KeyRef | None) -> bool | None:
    from tpmconsole.tpm import keyfile

    if ref is None:  # a key to be made: nothing is there to be guessed
        return False
    handle = ref.handle
    if ref.pem is not None:
        key = keyfile.parse(ref.pem)
        if needs == "key":
            return not key.has_noda
        handle = key.parent
    found = (key for key in tpm.persistent_keys() if int(key.handle, 16) == handle)
    return next((key.counts_towards_lockout for key in found), None)
