"""What a technician does on the board: logs in on the serial line, types, reads the screen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from emulated.build import Disk
from emulated.line import PATIENCE_S, Line
from emulated.machine import Machine

BOOT_S = 400.0  # half a minute, on a machine that does nothing else
PROMPT = b"technician@board"
STATE = "/home/technician/.local/state/tpmconsole"

# A certificate authority as a technician makes one: by the openssl command.
_MAKE_CA = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key"
    " -out ca.pem -days 365 -subj /CN=Board-CA -addext keyUsage=critical,keyCertSign,cRLSign"
    " && printf 'authorityKeyIdentifier=keyid\\nsubjectKeyIdentifier=hash\\n' > ca.ext"
)


# What the kernel does where a modem's carrier goes: QEMU's port has no carrier to take away.
_HANG_UP = (
    "python3 -c 'import fcntl, os; "
    'fcntl.ioctl(os.open("/dev/ttyS0", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK), 0x5437)\''
)


class Program(NamedTuple):
    """A process on the board."""

    pid: int
    parent: int
    command: str


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

    def logged_in_after(self, position: int, seconds: float = PATIENCE_S) -> None:
        """Wait for a prompt that comes after a position in the line's output."""
        self.line.until(lambda: PROMPT in self.line.output[position:], seconds)
        self.line.settle()

    def hang_up(self) -> None:
        """Close the line under whatever uses it, and log in again."""
        position = len(self.line.output)
        self.machine.root(_HANG_UP)
        self.logged_in_after(position)

    def programs(self, word: str) -> list[Program]:
        """The technician's processes with a word in their command lines."""
        own = "find /proc -maxdepth 1 -user technician -name '[0-9]*'"
        show = (
            f"for p in $({own}); do cut -d ' ' -f 1,4 $p/stat; tr '\\0' ' ' <$p/cmdline; echo; done"
        )
        lines = iter(self.machine.root(f"{{ {show}; }} 2>/dev/null || true").splitlines())
        numbers = (map(int, line.split()) for line in lines)
        found = [Program(pid, parent, next(lines, "")) for pid, parent in numbers]
        return [one for one in found if word in one.command]

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

    def enter_until(self, text: str, form: str) -> None:
        """Press Enter, from field to field, until a text is on the screen or the form is done.

        Args:
            text: what is waited for, then, too.
            form: its title; Enter may mean something else where it is not on the screen.

        Raises:
            AssertionError: the text never came, or the form does not end.
        """
        self.line.until(lambda: self._form(form))
        for _ in range(16):
            before = self._form(form)
            if text in self.line.text or not before:
                break
            self.line.send("\r")
            # Each field has a hint of its own: something in the form changes with each Enter.
            self.line.until(partial(self._form_changed, form, before))
            self.line.settle(0.25)
        self.line.until(text)

    def _form(self, title: str) -> str:
        """What is on the screen from a form's title to its lower edge; nothing until both are."""
        rest = self.line.text.partition(title)[2]
        return rest[: rest.find("--+\n", 80) + 1]

    def _form_changed(self, title: str, before: str) -> bool:
        return self._form(title) != before

    def leave_console(self) -> None:
        """Leave it, back to the prompt."""
        position = len(self.line.output)
        self.line.send("q")
        self.logged_in_after(position)

    def command(self, arguments: str, code: int = 0, tcti: str = "") -> Any:
        """Type a command of the console's at the prompt; its JSON answer.

        Args:
            code: what it is to end with.
            tcti: the TPM to use; the console's own choice by default.

        Raises:
            AssertionError: it did not end with ``code``.
        """
        which = f"--tcti {tcti} " if tcti else ""
        ended, text = self.line.shell(f"tpmconsole {which}{arguments} --json 2>&1")
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
            f"openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365"
            f" -copy_extensions copy -extfile ca.ext -out {name}.pem"
        )
        assert code == 0, text

    def provision(self, name: str, create: str = "") -> None:
        """Key, request, certificate and import by commands; what is there already is kept."""
        folder = f"{STATE}/identities/{name}"
        if self.line.shell(f"[ -e {folder}/certificate.pem ]")[0] == 0:
            return
        if self.line.shell(f"[ -e {folder} ]")[0] != 0:
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
        self, session: str, holds: Callable[[dict[str, Any]], object], seconds: float = PATIENCE_S
    ) -> dict[str, Any]:
        """One session's facts, as soon as something holds of them.

        Raises:
            AssertionError: it did not in time; the message has the facts.
        """
        deadline = time.monotonic() + seconds
        while not holds(facts := self.session(session)):
            assert time.monotonic() < deadline, facts
        return facts

    def start_server(self, name: str, port: int, options: str = "", tcti: str = "") -> str:
        """Start a server; its session."""
        arguments = f"session start server {name} --listen localhost:{port} {options}"
        return str(self.command(arguments, tcti=tcti)["id"])

    def start_client(
        self, name: str, port: int, options: str = "", tcti: str = ""
    ) -> dict[str, Any]:
        """Start a client of the board's own server that sends five messages a second."""
        arguments = (
            f"session start client {name} --connect localhost:{port} --protocol line --interval 0.2"
        )
        started: dict[str, Any] = self.command(f"{arguments} {options}", tcti=tcti)
        return started

    def talk(
        self, name: str, port: int, options: str = "", tcti: str = "", count: int = 3
    ) -> dict[str, Any]:
        """A client that sends some messages; its facts when it has ended well."""
        started = self.start_client(name, port, f"--count {count} {options}", tcti)
        self.machine.root(f"while [ -e /proc/{started['pid']} ]; do sleep 0.2; done")
        facts = self.session(started["id"])
        assert facts["state"] == "stopped", facts
        assert facts["messages"] == count, facts
        return facts

    def stop(self, session: str) -> dict[str, Any]:
        """Stop a session; its facts at the end."""
        facts: dict[str, Any] = self.command(f"session stop {session}")
        assert facts["state"] == "stopped", facts
        return facts
