"""Units for systemd."""

from __future__ import annotations

from argparse import Namespace

from tpmconsole.board import Board
from tpmconsole.commands.common import Answer, Commands
from tpmconsole.units.install import Installation, install, remove


def installed(wanted: Installation, args: Namespace) -> Answer:
    """Install, undo, or only show what would be done; every command that installs units ends here.

    Args:
        args: ``dry_run``, ``undo`` and ``root``, of ``arguments.install.install_options``.
    """
    data = wanted.to_json()
    if args.dry_run:
        return Answer(data | {"changed": False}, wanted.lines(undo=args.undo))
    if args.undo:
        changed = remove(wanted, args.root)
        said = [f"{wanted.name}: {'taken away' if changed else 'was not installed'}"]
    else:
        changed = install(wanted, args.root)
        said = [f"{wanted.name}: {'installed' if changed else 'unchanged'}"]
        said += [str(path) for path in wanted.files]
        if args.root is not None:
            said += ["on the board, once:", *(f"$ {' '.join(one)}" for one in wanted.start)]
        said += [wanted.note] if wanted.note else []
        said.append(f"to undo: {wanted.undo}")
    return Answer(data | {"changed": changed}, said)


def _kiosk(board: Board, args: Namespace) -> Answer:
    from tpmconsole.units.consoles import kiosk

    return installed(kiosk(board.settings, args.tty, args.baud), args)


def _serial_console(_: Board, args: Namespace) -> Answer:
    from tpmconsole.units.consoles import serial_console

    return installed(serial_console(args.tty, args.baud, args.term), args)


COMMANDS: Commands = {"install kiosk": _kiosk, "install serial-console": _serial_console}
