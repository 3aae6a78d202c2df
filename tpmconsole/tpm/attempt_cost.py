"""Whether a wrong password would count towards the dictionary-attack lockout."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tpmconsole.tpm.model import KeyRef, PersistentKey


def counts(
    needs: str, ref: KeyRef | None, persistent: Callable[[], Iterable[PersistentKey]]
) -> bool | None:
    """Whether a wrong password would count; None where the TPM does not tell.

    The passwords of hierarchies are not subject to the lockout (TPM 2.0 Part 1, 19.8.3); the
    lockout authorisation has a rule of its own; and of a source file's passphrase the TPM
    learns nothing.

    Args:
        needs: whose password, as in ``ConsoleError``.
        ref: the key that is to be used; None for one that is still to be made.
        persistent: lists what is at the TPM's handles; asked only where it matters.

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
