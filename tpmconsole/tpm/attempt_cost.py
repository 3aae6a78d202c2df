"""Whether a wrong password would count towards the dictionary-attack lockout."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tpmconsole.tpm.model import KeyRef, PersistentKey


def counts(
    needs: str, ref: KeyRef | None, persistent: Callable[[], Iterable[PersistentKey]]
) -> bool | None:
    """Whether a wrong password would count; None if the TPM does not say.

    The passwords of hierarchies are not subject to the lockout (TPM 2.0 Part 1, 19.8.3); the
    lockout authorisation has a rule of its own; and the TPM never sees the passphrase of a
    source file.

    Args:
        needs: which password, as in ``ConsoleError``.
        ref: the key to use; None for a key that has not been created yet.
        persistent: lists the keys at the TPM's handles; called only if the answer depends on it.

    Raises:
        ConsoleError: the key file is damaged, or the TPM cannot be reached.
    """
    from tpmconsole.tpm import keyfile

    if ref is None or needs in ("source", "hierarchy", "endorsement", "lockout"):
        return False
    handle = ref.handle
    if ref.pem is not None:
        key = keyfile.parse(ref.pem)
        if needs == "key":
            return not key.has_noda
        handle = key.parent
    found = (key for key in persistent() if int(key.handle, 16) == handle)
    return next((key.counts_towards_lockout for key in found), None)
