"""Units for systemd."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from tpmconsole.board import Board
from tpmconsole.cli.common import Answer, Commands
from tpmconsole.cli.next_steps import say
from tpmconsole.system.systemd import UnitFiles, install


def installed(wanted: UnitFiles, args: Namespace) -> Answer:
    """Install units, or only show them; every command that installs some may end here.

    Args:
        args: with ``dry_run``.
    """
    return told(wanted, None if args.dry_run else install(wanted))


def told(wanted: UnitFiles, written: list[Path] | None) -> Answer:
    """What was installed.

    Args:
        written: the files that were; None where it was only shown.
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


COMMANDS: Commands = {"install kiosk": _kiosk, "install serial-console": _serial_console}
