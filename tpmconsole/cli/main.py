"""Parse the command line, run a command and print its answer; only this module prints."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tpmconsole.cli import attest, identities, install, keys, sessions, status, support, trust
from tpmconsole.cli.next_steps import option_that_gives, say, worded
from tpmconsole.cli.output import NotWrittenError, complain, tell
from tpmconsole.cli.parser import Parser
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.logs import start_logging
from tpmconsole.secret import leave_no_core
from tpmconsole.settings import LINES, Settings, load_settings
from tpmconsole.system.files import refused
from tpmconsole.text import harmless, printable

if TYPE_CHECKING:
    from tpmconsole.cli.common import Answer

log = logging.getLogger(__name__)

ERROR_CHARACTERS = 2000


def run(arguments: Sequence[str], open_console: Callable[[Settings], int]) -> int:
    """Run one command line; returns the exit code and never raises for a failure it can name.

    Args:
        arguments: what follows the program's name.
        open_console: called when no command is named; returns the exit code.
    """
    try:
        return _run(arguments, open_console)
    except BrokenPipeError:
        return ExitCode.NO  # the reader of our output has gone, so nothing can be reported
    except NotWrittenError as error:
        _print_error(_not_written(error))
        return ExitCode.UNEXPECTED


def _run(arguments: Sequence[str], open_console: Callable[[Settings], int]) -> int:
    as_json = "--json" in arguments
    settings: Settings | None = None
    args = Namespace()
    # Without a log file, logging would print to the terminal, including tracebacks.
    log.addHandler(logging.NullHandler())
    try:
        args = build_parser().parse_args(arguments)
        settings = load_settings(
            state=args.state,
            tcti=args.tcti,
            simulate=args.simulate,
            line=args.line,
            mouse=args.mouse,
            kiosk=args.kiosk,
        )
        start_logging(settings.log)
        if args.command is None:
            return open_console(settings)
        return _run_command(settings, args)
    except ConsoleError as error:
        _print_error(error, as_json, option_that_gives(error.needs, args))
        return error.exit_code
    except (BrokenPipeError, NotWrittenError):
        raise
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the one place for unexpected errors: into the log, with an apology
        log.exception("unexpected")
        details = f"the details are in {settings.log}" if settings else str(error)
        _print_error(_unexpected(error, details), as_json)
        return ExitCode.UNEXPECTED


def _run_command(settings: Settings, args: Namespace) -> int:
    from tpmconsole.board import Board

    leave_no_core()
    board = Board(settings)
    try:
        answer: Answer = args.run(board, args)
        try:
            _tell_answer(answer, settings, as_json=args.json)
        except NotWrittenError as error:
            if answer.changed:
                raise NotWrittenError(f"{error}; the change itself was made") from error
            raise
        if sys.stderr.isatty() and (note := board.root_note()):
            complain(f"tpmconsole: {note}")
        return answer.exit_code
    finally:
        board.close()


def _tell_answer(answer: Answer, settings: Settings, *, as_json: bool) -> None:
    if as_json and not answer.stream:
        data = answer.to_json() if answer.plain else _marked(answer.to_json(), settings)
        tell(json.dumps(worded(data), indent=2))
        return
    lines = (json.dumps(worded(one)) for one in answer.data) if as_json else answer.lines
    for line in lines:
        tell(harmless(line))


def _marked(data: Any, settings: Settings) -> Any:
    """Add to an answer whether it is about the simulated TPM; what the TPM itself said counts."""
    return {"simulated": settings.simulate} | data


def _print_error(error: ConsoleError, as_json: bool = False, option: str = "") -> None:
    """Say what failed. The exit code says it too, so this never raises."""
    remedy = f"{say(error.remedy)}; {option}" if option else say(error.remedy)
    if as_json:
        answer = worded(error.to_json()) | {"remedy": remedy}
        with suppress(BrokenPipeError, NotWrittenError):
            tell(json.dumps({"error": answer}, indent=2))
            return
    for line in (f"tpmconsole: {error.title}: {error.cause}", f"try: {remedy}"):
        complain(printable(line, ERROR_CHARACTERS))


def _not_written(error: NotWrittenError) -> ConsoleError:
    return ConsoleError(
        "Answer not written",
        f"standard output: {error}",
        "free some space for it, or send it elsewhere",
        ExitCode.UNEXPECTED,
    )


def _unexpected(error: Exception, details: str) -> ConsoleError:
    if isinstance(error, OSError):
        return refused(error, "working")
    return ConsoleError(
        "Sorry, something unexpected happened",
        f"{type(error).__name__}; {details}",
        "try again; if it happens again, send us that",
        ExitCode.UNEXPECTED,
    )


class _Version(argparse.Action):
    """Looks the versions up only on request: that takes longer than everything else here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from tpmconsole.versions import version_lines

        tell("\n".join(version_lines()))
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; without a command, ``command`` is ``None``."""
    parser = Parser(
        prog="tpmconsole",
        description="Console of a board with a TPM 2.0. Without a command, it opens the screen.",
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help="show the versions of tpmconsole and its libraries",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tcti", metavar="T", help="which TPM to use, such as device:/dev/tpmrm0")
    which.add_argument("--simulate", action="store_true", help="use the simulated TPM")
    parser.add_argument("--state", metavar="DIR", help="the folder for everything that is stored")
    parser.add_argument("--line", choices=LINES, help="the terminal line (default: auto)")
    parser.add_argument("--mouse", action="store_true", help="use the mouse on a fast line")
    parser.add_argument("--kiosk", action="store_true", help="a visitor's console")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for group in (
        status,
        keys,
        identities,
        trust,
        attest,
        sessions,
        support,
        install,
    ):
        group.add_commands(commands)
    return parser
