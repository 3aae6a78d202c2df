"""The parser that every command shares, and the options that several take."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tpmconsole.cli.output import tell
from tpmconsole.errors import usage_error


class Parser(argparse.ArgumentParser):
    """Reports errors as ConsoleErrors, and leaves printing and exiting to the caller.

    Options cannot be abbreviated: once scripts used an abbreviation, it could never change.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._list = ""

    def add_paths(self, name: str, **options: Any) -> None:
        """Accept any number of paths, before, between and after the options."""
        self._list = name
        self.add_argument(name, nargs="*", type=Path, **options)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as argparse does, but let a list of paths continue after an option.

        Raises:
            ConsoleError: an argument is left that this command does not know.
        """
        found, left = super().parse_known_args(args, namespace)
        if self._list:
            more = [one for one in left if one == "-" or not one.startswith("-")]
            setattr(found, self._list, getattr(found, self._list) + list(map(Path, more)))
            left = [one for one in left if one not in more]
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return found, left

    def print_help(self, _: Any = None) -> None:
        """Print as every answer is printed: argparse itself ignores write errors."""
        tell(self.format_help().rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        raise usage_error("Wrong usage", message, f"see: {self.prog} --help")


def subcommands(command: argparse.ArgumentParser, name: str = "action") -> Any:
    """Add the group of a command's subcommands, of which one must be given.

    Args:
        name: the attribute with the chosen one; an error calls it a command.
    """
    return command.add_subparsers(dest=name, metavar="COMMAND", required=True, parser_class=Parser)


def add_command(
    group: Any, name: str, run: Callable[..., Any], text: str, example: str = ""
) -> Parser:
    """Add a command; each can answer in JSON.

    Args:
        run: gets the board and the arguments, and returns the answer.
    """
    epilog = f"example: {example}" if example else None
    command: Parser = group.add_parser(name, help=text, description=text, epilog=epilog)
    command.add_argument("--json", action="store_true", help="answer in JSON")
    command.set_defaults(run=run)
    return command


def if_missing_option(command: argparse.ArgumentParser, what: str) -> None:
    """Add the option for scripts that run repeatedly: what exists is not made again."""
    command.add_argument("--if-missing", action="store_true", help=f"change nothing if {what}")


def password_option(
    command: argparse._ActionsContainer,
    whose: str = "the key's password",
    name: str = "password_file",
) -> None:
    command.add_argument(
        "--password-file",
        dest=name,
        type=Path,
        metavar="F",
        help=f"{whose}: the file's first line ('-': from standard input)",
    )


def key_password_options(command: argparse.ArgumentParser) -> None:
    """Add the options for an existing key: its password (perhaps a wrong one), or none."""
    which = command.add_mutually_exclusive_group()
    password_option(which)
    which.add_argument(
        "--no-password",
        action="store_true",
        help="the key has no password, whatever its file says",
    )
    command.add_argument(
        "--last-try",
        action="store_true",
        help="send the password, or none, even if a wrong one would lock the TPM",
    )


def owner_password_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--owner-password-file",
        type=Path,
        metavar="F",
        help="the owner hierarchy's password, if it has one",
    )


def endorsement_password_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--endorsement-password-file",
        type=Path,
        metavar="F",
        help="the endorsement hierarchy's password, where it has one: to prove where the key is",
    )


def other_password_options(command: argparse.ArgumentParser) -> None:
    owner_password_option(command)
    command.add_argument(
        "--parent-password-file",
        type=Path,
        metavar="F",
        help="the password of the key's persistent parent, if it has one",
    )
