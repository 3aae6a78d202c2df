"""Units for systemd."""

from __future__ import annotations

from typing import Any

from tpmconsole.cli.parser import Parser, add_command

BAUDS = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)


def add_commands(commands: Any) -> None:
    install = commands.add_parser("install", help="units for systemd, written for this board")
    actions = install.add_subparsers(dest="action", required=True, parser_class=Parser)
    kiosk = add_command(
        actions,
        "kiosk",
        "the visitor's console on a terminal, from the start of the board on",
        "tpmconsole install kiosk --tty tty1 --dry-run",
    )
    serial = add_command(
        actions,
        "serial-console",
        "the login of a serial line, with the right terminal type and speed",
        "tpmconsole install serial-console --tty ttyS0 --baud 115200",
    )
    for one, tty in ((kiosk, "tty1"), (serial, "ttyS0")):
        one.add_argument("--tty", default=tty, help=f"the terminal (default: {tty})")
        one.add_argument(
            "--baud", type=int, choices=BAUDS, default=115200, help="a serial line's speed"
        )
    serial.add_argument("--term", default="vt220", help="its terminal type (default: vt220)")
    for one in (kiosk, serial):
        one.add_argument("--dry-run", action="store_true", help="show everything, write nothing")
