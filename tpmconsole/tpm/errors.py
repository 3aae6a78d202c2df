"""Why a key cannot be used, for the cases where we know it earlier or better than the TPM."""

from __future__ import annotations

from tpmconsole.errors import ConsoleError, ExitCode, Remedy

# Holds the Name of each TPM's storage key, in the state directory.
STORAGE_NAMES = "storage-names.json"

_TITLES = {
    "cannot-sign": "Key cannot sign",
    "needs-password": "Password needed",
    "last-try": "One attempt left",
    "locked-out": "TPM locked out",
    "wrong-password": "Wrong password",
    "parent-missing": "Parent missing",
    "policy": "Key needs its policy",
    "not-this-tpm": "Key refused",
    "unsupported": "Not supported",
}


_NAME_DIGITS = 16  # of a Name; enough to distinguish two of them


def tpm_changed(was: str, now: str) -> ConsoleError:
    """The error for a TPM whose storage key differs from the one seen before.

    Args:
        was, now: the keys' Names, hexadecimal.
    """
    # The first two bytes name the hash algorithm (Part 1, 16).
    old, new = (name[4:][:_NAME_DIGITS] for name in (was, now))
    return ConsoleError(
        "TPM changed",
        f"its storage key was {old}… and is {new}…: the TPM was replaced or cleared, or something"
        " else answers in its place; nothing was sent to it",
        f"find out which; if this is expected, delete {STORAGE_NAMES} in the state directory",
        ExitCode.REFUSED,
    )


class KeyUnusableError(ConsoleError):
    """A key that cannot be used.

    Args:
        answer: the matching answer of ``model.KeyCheck``.
        cause: why, in one sentence.
        remedy: what the user can do.
        response_code: the TPM's response code, if one caused this.
        needs: which password would help, as in ``ConsoleError``.
    """

    def __init__(
        self,
        answer: str,
        cause: str,
        remedy: Remedy,
        *,
        response_code: int | None = None,
        needs: str | None = None,
    ) -> None:
        super().__init__(
            _TITLES[answer],
            cause,
            remedy,
            ExitCode.REFUSED,
            response_code=response_code,
            needs=needs,
        )
        self.answer = answer
