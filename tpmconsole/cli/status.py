"""Commands for the TPM itself: status, self-test, lock-out."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tpmconsole.cli.common import Answer, confirm
from tpmconsole.cli.parser import add_command, password_option, subcommands
from tpmconsole.errors import ExitCode
from tpmconsole.tpm.model import SelfTest, SelfTestResult

if TYPE_CHECKING:
    from tpmconsole.board import Board


def _status(board: Board, _: Namespace) -> Answer:
    from tpmconsole.board.lines import status_lines

    health = board.status()
    return Answer(health.to_json(), status_lines(health))


def _selftest(board: Board, args: Namespace) -> Answer:

    result, _ = board.self_test(full=not args.incremental)
    passed = result.result is SelfTestResult.PASSED
    return Answer(asdict(result), self_test_lines(result), ExitCode.YES if passed else ExitCode.NO)


def _lockout_reset(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.phrases import lockout_words
    from tpmconsole.board.status import plan_reset_lockout

    plan = plan_reset_lockout(board)
    before = board.status().lockout
    confirm(plan, args)
    after = board.status().lockout
    data = {
        "lockout": asdict(after) if after else None,
        "forgiven": before.failed_tries if before else 0,
    }
    changed = before is not None and (before.failed_tries > 0 or before.locked)
    return Answer(data, [lockout_words(after)], changed=changed)


def self_test_lines(result: SelfTest) -> Iterator[str]:
    """``tpmconsole selftest``."""
    from tpmconsole.board.phrases import self_test_words

    yield self_test_words(result)
    if result.data:
        yield f"test result bytes: {result.data}"


def add_commands(commands: Any) -> None:
    add_command(
        commands,
        "status",
        _status,
        "show what the TPM reports about itself",
        "tpmconsole status --json",
    )
    selftest = add_command(
        commands,
        "selftest",
        _selftest,
        "let the TPM test itself; exit 1 if it fails",
        "tpmconsole selftest --full",
    )
    kind = selftest.add_mutually_exclusive_group()
    kind.add_argument("--full", action="store_true", help="test everything again (the default)")
    kind.add_argument(
        "--incremental", action="store_true", help="test only what has not been tested yet"
    )
    lockout = commands.add_parser("lockout", help="the TPM's protection against password guessing")
    reset = add_command(
        subcommands(lockout),
        "reset",
        _lockout_reset,
        "forget all wrong passwords; --password-file has the lockout authorisation",
        "tpmconsole lockout reset --password-file lockout.txt --yes",
    )
    reset.add_argument(
        "--yes", action="store_true", help="without it, only says what would be lost"
    )
    password_option(reset, "the lockout authorisation, if it is set", "lockout_password_file")
