"""Everything a user can be told went wrong: a title, its cause and what to do about it."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """Exit codes of every command; scripts rely on them."""

    YES = 0
    NO = 1
    USAGE = 2
    NO_TPM = 3
    REFUSED = 4
    UNEXPECTED = 5


class ConsoleError(Exception):
    """A failure in words.

    Args:
        title: what failed, a few words without a full stop ("Certificate refused").
        cause: why, one sentence.
        remedy: what the user can do, one sentence that starts with a verb.
        exit_code: how a command ends because of it.
        response_code: the TPM's or TSS's response code where one is behind it.
        needs: whose password would help: ``key``, ``parent``, ``hierarchy``, ``lockout`` or
            ``source`` (a key file's passphrase); ``consent`` where one was not sent because a
            wrong one would lock the TPM; None where it is not about a password.
    """

    def __init__(
        self,
        title: str,
        cause: str,
        remedy: str,
        exit_code: ExitCode = ExitCode.NO,
        *,
        response_code: int | None = None,
        needs: str | None = None,
    ) -> None:
        super().__init__(title, cause, remedy)
        self.title = title
        self.cause = cause
        self.remedy = remedy
        self.exit_code = exit_code
        self.response_code = response_code
        self.needs = needs

    def __str__(self) -> str:
        return f"{self.title}: {self.cause}"

    def to_json(self) -> dict[str, Any]:
        """The error as a command with ``--json`` prints it, and as it travels between processes."""
        answer: dict[str, Any] = {
            "title": self.title,
            "cause": self.cause,
            "remedy": self.remedy,
            "code": int(self.exit_code),
        }
        if self.response_code is not None:
            answer["response_code"] = self.response_code
        if self.needs is not None:
            answer["needs"] = self.needs
        return answer

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ConsoleError:
        """The error that ``to_json`` made, from another process."""
        return cls(
            data["title"],
            data["cause"],
            data["remedy"],
            ExitCode(data["code"]),
            response_code=data.get("response_code"),
            needs=data.get("needs"),
        )


def usage_error(title: str, cause: str, remedy: str) -> ConsoleError:
    """Input that cannot be right, whatever the state of the board."""
    return ConsoleError(title, cause, remedy, ExitCode.USAGE)


def no_tpm(cause: str, remedy: str, *, response_code: int | None = None) -> ConsoleError:
    """No TPM could be reached."""
    return ConsoleError(
        "No TPM reached", cause, remedy, ExitCode.NO_TPM, response_code=response_code
    )
