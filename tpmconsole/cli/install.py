"""Install systemd units."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.cli.common import Answer
from tpmconsole.cli.next_steps import say
from tpmconsole.cli.parser import add_command, subcommands
from tpmconsole.system.systemd import UnitFiles, install

if TYPE_CHECKING:
    from tpmconsole.board import Board


def installed(wanted: UnitFiles, args: Namespace) -> Answer:
    """Install units, or only show them: the last step of every command that installs units.

    Args:
        args: the command's arguments, with ``dry_run``.
    """
    return told(wanted, None if args.dry_run else install(wanted))


def told(wanted: UnitFiles, written: list[Path] | None) -> Answer:
    """What was installed.

    Args:
        written: the files that were written; None if the units were only shown.
    """
    data = {
        "files": [{"path": str(path), "text": text} for path, text in wanted.files().items()],
        "start": wanted.start,
        "undo": wanted.undo,
        "notes": [say(note) for note in wanted.notes],
        "changed": bool(written),
    }
    return Answer(data, _lines(wanted, written))


def _lines(wanted: UnitFiles, written: list[Path] | None) -> Iterator[str]:
    if written is None:
        for path, text in wanted.files().items():
            yield f"--- {path}"
            yield from text.splitlines()
    else:
        for path in wanted.files():
            yield f"{path}: {'written' if path in written else 'unchanged'}"
    yield from map(say, wanted.notes)
    yield f"to start: {wanted.start}"
    yield f"to undo: {wanted.undo}"


def _kiosk(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.consoles import kiosk

    return installed(kiosk(board.settings, args.tty, args.baud), args)


def _serial_console(_: Board, args: Namespace) -> Answer:
    from tpmconsole.board.consoles import serial_console

    return installed(serial_console(args.tty, args.baud, args.term), args)


BAUDS = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)


def add_commands(commands: Any) -> None:
    install = commands.add_parser("install", help="systemd units for this board")
    actions = subcommands(install)
    kiosk = add_command(
        actions,
        "kiosk",
        _kiosk,
        "run the visitor's console on a terminal when the board boots",
        "tpmconsole install kiosk --tty tty1 --dry-run",
    )
    serial = add_command(
        actions,
        "serial-console",
        _serial_console,
        "give the login of a serial line the right terminal type and speed",
        "tpmconsole install serial-console --tty ttyS0 --baud 115200",
    )
    for one, tty in ((kiosk, "tty1"), (serial, "ttyS0")):
        one.add_argument("--tty", default=tty, help=f"the terminal (default: {tty})")
        one.add_argument(
            "--baud", type=int, choices=BAUDS, default=115200, help="the speed of a serial line"
        )
    serial.add_argument("--term", default="vt220", help="the terminal type (default: vt220)")
    for one in (kiosk, serial):
        one.add_argument("--dry-run", action="store_true", help="only show it, write nothing")
