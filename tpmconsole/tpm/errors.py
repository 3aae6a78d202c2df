"""Why a key cannot be used, where we know it before or better than the TPM says it."""

from __future__ import annotations

from tpmconsole.errors import ConsoleError, ExitCode, Remedy

# Of the storage key of each TPM: who has the state directory keeps them.
STORAGE_NAMES = "storage-names.json"

_TITLES = {
    "cannot-sign": "Key cannot sign",
    "needs-password": "Password needed",
    "last-try": "One try left",
    "locked-out": "TPM locked out",
    "wrong-password": "Wrong password",
    "parent-missing": "Parent missing",
    "policy": "Key under a policy",
    "not-this-tpm": "Key refused",
    "unsupported": "Not supported",
}


_NAME_DIGITS = 16  # of a Name, to tell one from another


def tpm_changed(was: str, now: str) -> ConsoleError:
    """What answers has another storage key than the TPM that was used before.

    Args:
        was, now: the keys' Names, hexadecimal.
    """
    # The first two bytes say which hash it is (Part 1, 16).
    old, new = (name[4:][:_NAME_DIGITS] for name in (was, now))
    return ConsoleError(
        "TPM changed",
        f"its storage key was {old}… and is {new}…: the TPM was replaced or cleared, or something"
        " between answers in its place; nothing was given to it",
        f"find out which; if it is right so, delete {STORAGE_NAMES} in the state directory",
        ExitCode.REFUSED,
    )


class KeyUnusableError(ConsoleError):
    """A key that cannot be used.

    Args:
        answer: which of the answers of ``model.KeyCheck`` this is.
        cause: why, one sentence.
        remedy: what the user can do.
        response_code: the TPM's, where one is behind it.
        needs: whose password would help, as in ``ConsoleError``.
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
