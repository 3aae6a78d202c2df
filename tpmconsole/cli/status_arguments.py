"""The TPM itself: status, self-test, lock-out."""

from __future__ import annotations

from typing import Any

from tpmconsole.cli.parser import Parser, add_command, password_option


def add_commands(commands: Any) -> None:
    add_command(
        commands, "status", "show what the TPM says about itself", "tpmconsole status --json"
    )
    selftest = add_command(
        commands,
        "selftest",
        "let the TPM test itself; exit 1 where it failed",
        "tpmconsole selftest --full",
    )
    kind = selftest.add_mutually_exclusive_group()
    kind.add_argument("--full", action="store_true", help="test everything again (the default)")
    kind.add_argument("--incremental", action="store_true", help="test what was not tested yet")
    lockout = commands.add_parser("lockout", help="the TPM's protection against guessing")
    reset = add_command(
        lockout.add_subparsers(dest="action", required=True, parser_class=Parser),
        "reset",
        "forget all wrong passwords; --password-file has the lockout authorisation",
        "tpmconsole lockout reset --password-file lockout.txt --yes",
    )
    reset.add_argument("--yes", action="store_true", help="without it, only says what is at stake")
    password_option(reset, "the lockout authorisation, where it is set", "lockout_password_file")
