"""What a technician does on the board: logs in on the serial line, types, reads the screen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from board.build import Disk
from board.line import Line
from board.machine import Machine

BOOT_S = 180.0
PROMPT = b"technician@board"
STATE = "/home/technician/.local/state/tpmconsole"

# A certificate authority as a technician makes one: by the openssl command.
_MAKE_CA = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key"
    " -out ca.pem -days 30 -subj /CN=Board-CA -addext keyUsage=critical,keyCertSign,cRLSign"
    " && printf 'authorityKeyIdentifier=keyid\\nsubjectKeyIdentifier=hash\\n' > ca.ext"
)


# What the kernel does where a modem's carrier goes: QEMU's port has no carrier to take away.
_HANG_UP = (
    "python3 -c 'import fcntl, os; "
    'fcntl.ioctl(os.open("/dev/ttyS0", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK), 0x5437)\''
)


class Technician:
    """A board and the person at its serial line.

    Args:
        disk: what the board boots from.
        folder: for what it keeps.
    """

    def __init__(self, disk: Disk, folder: Path) -> None:
        self.machine = Machine(disk, folder)
        self.line: Line
        self.boot_s = 0.0

    def switch_on(self) -> None:
        """Switch the board on and wait until the technician is logged in."""
        self.machine.switch_on()
        self.line = Line(self.machine.line)
        self.logged_in_after(0, BOOT_S)
        self.boot_s = time.monotonic() - self.machine.booted

    def logged_in_after(self, position: int, seconds: float = 60.0) -> None:
        """Wait for a prompt that comes after a position in the line's output."""
        self.line.until(lambda: PROMPT in self.line.output[position:], seconds)
        self.line.settle()

    def hang_up(self) -> None:
        """Close the line under whatever uses it, and log in again."""
        position = len(self.line.output)
        self.machine.root(_HANG_UP)
        self.logged_in_after(position)

    def programs(self, word: str) -> list[str]:
        """The command lines with a word in them of the technician's processes."""
        own = "find /proc -maxdepth 1 -user technician -name '[0-9]*'"
        show = f"for p in $({own}); do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null"
        return [line for line in self.machine.root(show).splitlines() if word in line]

    def at_the_prompt(self) -> bool:
        """Whether the shell waits for a command."""
        self.line.settle()
        words = self.line.text.split()
        return bool(words) and words[-1].startswith(PROMPT.decode())

    def open_console(self, arguments: str = "") -> float:
        """Open the console; seconds to its first screen."""
        began = time.monotonic()
        self.line.send(f"clear; tpmconsole {arguments}\r")
        self.line.until("[1 Overview]")
        took = time.monotonic() - began
        self.line.until(lambda: "PASSED" in self.line.text or "NO TPM" in self.line.text)
        return took

    def leave_console(self) -> None:
        """Leave it, back to the prompt."""
        position = len(self.line.output)
        self.line.send("q")
        self.logged_in_after(position)

    def command(self, arguments: str, code: int = 0, seconds: float = 120.0) -> Any:
        """Type a command of the console's at the prompt; its JSON answer.

        Raises:
            AssertionError: it did not end with ``code``.
        """
        ended, text = self.line.shell(f"tpmconsole {arguments} --json 2>&1", seconds)
        assert ended == code, text
        return json.loads(text)

    def make_ca(self) -> None:
        """Make the certificate authority, once."""
        code, text = self.line.shell(f"[ -f ca.ext ] || {{ {_MAKE_CA}; }}")
        assert code == 0, text

    def certify(self, name: str) -> None:
        """Let the authority sign ``~/NAME.csr`` into ``~/NAME.pem``."""
        self.make_ca()
        code, text = self.line.shell(
            f"openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30"
            f" -copy_extensions copy -extfile ca.ext -out {name}.pem"
        )
        assert code == 0, text

    def provision(self, name: str, create: str = "") -> None:
        """Key, request, certificate and import by commands, unless they were made before."""
        if f" {name} " in self.line.shell(f"ls {STATE}/identities | sed 's/.*/ & /'")[1]:
            return
        self.command(f"create {name} {create}")
        self.command(
            f"request {name} --subject CN={name} --san dns:localhost --role both --out {name}.csr"
        )
        self.certify(name)
        assert self.command(f"import {name} {name}.pem --trust ca.pem")["installed"]

    def session(self, session: str) -> dict[str, Any]:
        """One session's facts."""
        facts: dict[str, Any] = self.command(f"session show {session}")
        return facts

    def session_until(
        self, session: str, holds: Callable[[dict[str, Any]], object], seconds: float = 90.0
    ) -> dict[str, Any]:
        """One session's facts, as soon as something holds of them.

        Raises:
            AssertionError: it did not in time; the message has the facts.
        """
        deadline = time.monotonic() + seconds
        while not holds(facts := self.session(session)):
            assert time.monotonic() < deadline, facts
        return facts

    def start_server(self, name: str, port: int, options: str = "") -> str:
        """Start a server; its session."""
        answer = self.command(f"session start server {name} --listen localhost:{port} {options}")
        return str(answer["id"])

    def talk(self, name: str, port: int, options: str = "", count: int = 3) -> dict[str, Any]:
        """A client that sends some messages; its facts when it has ended well."""
        started = self.command(
            f"session start client {name} --connect localhost:{port} --count {count}"
            f" --interval 0.2 {options}"
        )
        facts = self.session_until(started["id"], lambda one: one["state"] in ("stopped", "failed"))
        assert facts["state"] == "stopped", facts
        assert facts["messages"] == count, facts
        return facts
