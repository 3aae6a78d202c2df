"""What commands share: the type of an answer, and how to read passwords and files."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError, ExitCode, usage_error
from tpmconsole.inputs import CERTIFICATE_BYTES
from tpmconsole.secret import Secret, first_line
from tpmconsole.system.files import read_bounded
from tpmconsole.system.password_files import read_password_file
from tpmconsole.tpm.auth import Auth, check_password

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.board.plan import Plan, Result

PASSWORD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a command: data for ``--json``, lines for people, and its exit code.

    Attributes:
        stream: ``data`` is many objects that arrive slowly; each is printed on its own line.
        plain: ``data`` is not about a TPM and does not mention one.
        changed: for a command that changes things: whether it did; the JSON has it too.
    """

    data: Any
    lines: Iterable[str]
    exit_code: ExitCode = ExitCode.YES
    stream: bool = False
    plain: bool = False
    changed: bool | None = None

    def to_json(self) -> Any:
        """What ``--json`` prints."""
        return self.data if self.changed is None else self.data | {"changed": self.changed}


def read_password(path: Path | None, without: str = "leave the option out") -> Secret | None:
    """The first line of the password file, or of standard input for ``-``.

    Args:
        without: what to do for a key without a password.
    """
    if path is None:
        return None
    if str(path) in ("-", "/dev/stdin"):
        data = sys.stdin.buffer.readline(PASSWORD_BYTES)
    else:
        data = read_password_file(path, PASSWORD_BYTES)
    password = first_line(data)
    if not password:  # to make a key without a password, the option must be left out deliberately
        raise usage_error(
            "No password",
            f"{path}: its first line is empty",
            f"write the password in its first line; for a key without one, {without}",
        )
    check_password(password)
    return password


def read_auth(args: Namespace) -> Auth:
    """All passwords given to a command; each line of standard input is one."""
    return Auth(
        key=_read_key_password(args),
        parent=read_password(getattr(args, "parent_password_file", None)),
        owner=read_password(getattr(args, "owner_password_file", None)),
        endorsement=read_password(getattr(args, "endorsement_password_file", None)),
        lockout=read_password(getattr(args, "lockout_password_file", None)),
        spend_last_attempt=getattr(args, "last_try", True),
    )


def _read_key_password(args: Namespace) -> Secret | None:
    file = getattr(args, "password_file", None)
    if "no_password" not in args:
        return read_password(file)
    return Secret() if args.no_password else read_password(file, "give --no-password instead")


def confirm(plan: Plan[Result], args: Namespace) -> Result:
    """Carry out a plan if ``--yes`` was given.

    Raises:
        ConsoleError: it was not given (the error names what would be lost), or the plan failed.
    """
    if not args.yes:
        instead = f"{say(plan.instead)}, or add --yes" if plan.instead else "add --yes"
        losses = "; ".join(line.removesuffix(".") for line in plan.losses)
        raise ConsoleError(plan.not_done, f"{plan.title}: {losses}", instead, plan.refused)
    return plan.apply(read_auth(args))


def out_file(args: Namespace) -> Path | None:
    """The file to write to; None for no file or standard output."""
    return None if str(args.out) == "-" else args.out


def certificate_file(path: Path) -> bytes:
    """A certificate file, or standard input for ``-``; reads one byte more than is allowed."""
    if str(path) == "-":
        return sys.stdin.buffer.read(CERTIFICATE_BYTES + 1)
    return read_bounded(path, CERTIFICATE_BYTES)


def with_outdated(board: Board, name: str, answer: Answer) -> Answer:
    """The answer, and which sessions still use the old files."""
    from tpmconsole.board.sessions import outdated

    if not answer.changed:
        return answer
    found = outdated(board, name)
    more = [{"session": one.session, "command": say(one.step)} for one in found]
    lines = [f"{one.session} still uses the old files: {say(one.step)}" for one in found]
    return replace(answer, data=answer.data | {"outdated": more}, lines=[*answer.lines, *lines])
