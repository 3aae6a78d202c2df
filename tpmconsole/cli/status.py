"""The TPM itself: status, self-test, lock-out."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from tpmconsole.board import Board
from tpmconsole.cli.common import Answer, Commands, confirm
from tpmconsole.errors import ExitCode
from tpmconsole.tpm.model import SelfTestResult


def _status(board: Board, _: Namespace) -> Answer:
    from tpmconsole.board.lines import status_lines

    health = board.status()
    return Answer(health.to_json(), status_lines(health))


def _selftest(board: Board, args: Namespace) -> Answer:
    from tpmconsole.cli.answers import self_test_lines

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


COMMANDS: Commands = {
    "status": _status,
    "selftest": _selftest,
    "lockout reset": _lockout_reset,
}
