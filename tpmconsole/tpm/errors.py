"""Why a key cannot be used, where we know it before or better than the TPM says it."""

from __future__ import annotations

from tpmconsole.errors import ConsoleError, ExitCode, Remedy

_TITLES = {
    "cannot-sign": "Key cannot sign",
    "needs-password": "Password needed",
    "last-try": "One try left",
    "locked-out": "TPM locked out",
    "wrong-password": "Wrong password",
    "parent-missing": "Parent missing",
    "not-this-tpm": "Key refused",
    "unsupported": "Not supported",
}


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
