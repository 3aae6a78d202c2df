"""The command line's grammar (contract: names, options and exit codes do not change)."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tpmconsole.cli import (
    identities_arguments,
    install_arguments,
    keys_arguments,
    sessions_arguments,
    status_arguments,
    support_arguments,
)
from tpmconsole.cli.parser import Parser
from tpmconsole.settings import LINES


class _Version(argparse.Action):
    """Looks the versions up when somebody asks: that takes longer than all the rest here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from tpmconsole.versions import version_lines

        sys.stdout.writelines(f"{line}\n" for line in version_lines())
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; ``command`` is None where the console is wanted."""
    parser = Parser(
        prog="tpmconsole",
        description="Console of a board with a TPM 2.0. Without a command it opens the screen.",
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="show our version and what we stand on"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tcti", metavar="T", help="which TPM to use, such as device:/dev/tpmrm0")
    which.add_argument("--simulate", action="store_true", help="use the simulated TPM")
    parser.add_argument("--state", metavar="DIR", help="where everything is kept")
    parser.add_argument("--line", choices=LINES, help="the terminal line (default: auto)")
    parser.add_argument("--mouse", action="store_true", help="use the mouse, on a fast line")
    parser.add_argument("--kiosk", action="store_true", help="a visitor's console")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for group in (
        status_arguments,
        keys_arguments,
        identities_arguments,
        sessions_arguments,
        support_arguments,
        install_arguments,
    ):
        group.add_commands(commands)
    return parser
