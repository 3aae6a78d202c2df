"""``make board``: build the board, switch it on, and act as its serial terminal until Ctrl-]."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import termios
import tty

from emulated.build import HERE, Disk
from emulated.machine import Machine

LEAVE = b"\x1d"
PROGRAMS = ("qemu-system-x86_64", "swtpm", "debootstrap", "mkfs.ext4", "unshare")
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def main(release: str) -> int:
    """Run the board in this terminal.

    Returns:
        The exit code.
    """
    disk = prepared(release)
    machine = Machine(disk, disk.folder)
    print(f"board: Debian {release} boots (emulated: up to a minute); Ctrl-] leaves", flush=True)
    machine.switch_on()
    try:
        be_its_terminal(machine)
    finally:
        machine.switch_off()
        print("\r\nboard: switched off; keys and files below /home are kept", flush=True)
    return 0


def prepared(release: str) -> Disk:
    """Return the board's disk; build it first, as root, if it is missing or old.

    Raises:
        SystemExit: a program is missing, or it could not be built; the reason has been printed.
    """
    disk = Disk(release)
    if missing := [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]:
        raise SystemExit(f"make board: not installed here: {', '.join(missing)}")
    if not disk.ready():
        as_root = [] if os.geteuid() == 0 else ["sudo", "-E"]
        command = [*as_root, sys.executable, "-m", "emulated.build", release]
        if subprocess.run(command, cwd=HERE.parent, check=False).returncode:
            raise SystemExit("make board: the board could not be built; the reason is above")
    return disk


def be_its_terminal(machine: Machine) -> None:
    """Forward keys and output until Ctrl-], the end of our input, or the board's end."""
    inputs = [sys.stdin.fileno(), machine.line.fileno()]
    before = termios.tcgetattr(0) if sys.stdin.isatty() else None
    if before:
        tty.setraw(0)
    try:
        while machine.running:
            ready = select.select(inputs, [], [], 1.0)[0]
            if machine.line.fileno() in ready:
                if not (data := machine.line.recv(65536)):
                    return
                os.write(1, data)
            if sys.stdin.fileno() in ready:
                data = os.read(0, 4096)
                machine.line.sendall(data.partition(LEAVE)[0])
                if not data or LEAVE in data:
                    return
    finally:
        if before:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
