"""The parser that every command shares, and the options that several take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from tpmconsole.errors import usage_error


class Parser(argparse.ArgumentParser):
    """Says what is wrong in our words, and leaves printing and exiting to the caller.

    No abbreviations: whatever a script once got away with would be for ever.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise usage_error("Wrong usage", message, f"see: {self.prog} --help")


def add_command(group: Any, name: str, text: str, example: str = "") -> argparse.ArgumentParser:
    """A command; each can answer in JSON."""
    epilog = f"example: {example}" if example else None
    command: argparse.ArgumentParser = group.add_parser(
        name, help=text, description=text, epilog=epilog
    )
    command.add_argument("--json", action="store_true", help="answer in JSON")
    return command


def if_missing_option(command: argparse.ArgumentParser, what: str) -> None:
    """For scripts that run again and again: what is there already is not made again."""
    command.add_argument(
        "--if-missing", action="store_true", help=f"change nothing where {what} already"
    )


def password_option(command: argparse.ArgumentParser, whose: str = "the key's password") -> None:
    command.add_argument(
        "--password-file",
        type=Path,
        metavar="F",
        help=f"{whose}: the file's first line ('-': from standard input)",
    )


def owner_password_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--owner-password-file",
        type=Path,
        metavar="F",
        help="the owner hierarchy's password, where it has one",
    )


def other_password_options(command: argparse.ArgumentParser) -> None:
    owner_password_option(command)
    command.add_argument(
        "--parent-password-file",
        type=Path,
        metavar="F",
        help="the password of the key's persistent parent, where it has one",
    )
