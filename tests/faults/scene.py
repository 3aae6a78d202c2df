"""A console on a pseudo-terminal, with its TPM behind a proxy, and every part that can break."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.proxy import Proxy
from support.pty import Pty
from support.shell import Shell
from support.swtpm import SwtpmAlone
from support.waiting import assert_nothing_left, wait_until

from tpmconsole.system.dbus import TABRMD_NAME, Presence, ask
from tpmconsole.tpm.simulator.programs import (
    abrmd_arguments,
    bus_arguments,
    bus_configuration,
    find_program,
)

KEY_S = 0.3  # a key press is answered within this
LEAVE_S = 2.0  # and the console ends within this
ITSELF_S = 25.0  # a poll every five seconds, a deadline of five, and a busy machine
ESCAPE = b"\x1b"
PATIENCE_S = 30.0  # for a program to start
HELP = "- Help -"  # the title of its dialog


class Terminal(Pty):
    """A console and its technician."""

    def key(self, key: bytes, text: str) -> None:
        """Press a key and wait for its effect."""
        self.send(key)
        self.until(text, ITSELF_S)

    def itself(self, text: str) -> None:
        """Wait, without pressing keys, until a text comes."""
        self.until(text, ITSELF_S)

    def answers(self, limit_s: float = KEY_S) -> float:
        """Check that keys are answered in time; return the seconds it took.

        The best of a few, without the time that the console waited for a processor: a frozen
        console misses all of them, a busy machine does not.
        """
        best = 10.0
        for _ in range(5):
            # A key right after an escape counts as part of it.
            self.settle(0.3)
            began, waited = time.monotonic(), self._waited()
            self.send(b"?")
            with contextlib.suppress(AssertionError):
                self.until(HELP, 5)
            took = time.monotonic() - began
            best = min(best, max(0.0, took - (self._waited() - waited)))
            self.send(ESCAPE)
            self.until(lambda: HELP not in self.text, ITSELF_S)
            if best <= limit_s:
                return best
        raise AssertionError(f"a key was answered after {best:.2f} s\n{self.text}")

    def _no_longer_shows(self, text: str) -> bool:
        return self.text != text

    def _waited(self) -> float:
        """Seconds in which the console's event loop was ready to run but had no processor."""
        fields = Path(f"/proc/{self.pid}/schedstat").read_text().split()
        return int(fields[1]) / 1e9

    def close_dialog(self, text: str) -> None:
        """Close a dialog with this text in it; a key sent at once would belong to the escape."""
        self.send(ESCAPE)
        self.until(lambda: text not in self.text, ITSELF_S)

    def create(self, name: str) -> None:
        """On page 2, fill in and submit the form for a new key, without waiting for the result."""
        self.key(b"2", "WHERE")
        self.until(lambda: "reading the keys" not in self.text, ITSELF_S)
        self.key(b"c", "New key in the TPM")
        self.send(name.encode())
        self.until(name, ITSELF_S)
        self.submit("New key in the TPM")

    def submit(self, form: str) -> None:
        """Press return through a form's fields until it closes, or refuses at the last one."""
        while form in self.text:
            before = self.text
            self.send(b"\r")
            try:
                self.until(partial(self._no_longer_shows, before), 3)
            except AssertionError:
                return  # it has already said what is wrong
            self.settle(0.2)

    def leaves(self) -> float:
        """Quit, confirm if asked; return the seconds it took, without its waits for a processor.

        Raises:
            AssertionError: it took longer than two.
        """
        began, before = time.monotonic(), self._waited()
        self.send(b"q")
        self.until(lambda: self.ended() or "is still running" in self.text, 10)
        if not self.ended():
            began, before = time.monotonic(), self._waited()
            self.send(b"y")
        waited = before

        def gone() -> bool:
            nonlocal waited
            with contextlib.suppress(OSError):
                waited = max(waited, self._waited())
            return self.ended()

        self.until(gone, 10)
        assert self.wait(1) == 0
        seconds = time.monotonic() - began - (waited - before)
        assert seconds < LEAVE_S, f"leaving took {seconds:.1f} s"
        assert self.settings() == self.before
        return seconds


class Scene:
    """One TPM behind a proxy, one state directory, and the consoles that use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.swtpm = SwtpmAlone(folder)
        self.swtpm.start()
        self.proxy = Proxy(folder / "proxy", folder / "sock")
        self.shell = Shell(self.state)
        self.tcti = self.proxy.tcti
        self.terminals: list[Terminal] = []

    def console(
        self, *arguments: str, ready: str | None = "Identities", **environment: str
    ) -> Terminal:
        """Open a console; on the proxied TPM unless the arguments name another."""
        which = arguments or ("--tcti", self.tcti)
        command = [sys.executable, "-m", "tpmconsole", "--state", str(self.state), *which]
        terminal = Terminal([*command, "--line", "serial"], environment={**environment})
        self.terminals.append(terminal)
        if ready:
            terminal.itself(ready)
        return terminal

    def healthy_console(self, **environment: str) -> Terminal:
        """A console that has reached the TPM."""
        return self.console(ready="PASSED", **environment)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the proxied TPM."""
        return self.shell("--tcti", self.tcti, *arguments)

    def refuses(self, code: int, *arguments: str, tcti: str | None = None) -> str:
        """Run a command that must fail with an error; return its text."""
        error = self.shell.refuse(code, "--tcti", tcti or self.tcti, *arguments)
        return f"{error['title']}: {error['cause']}; try: {error['remedy']}"

    def left_on_disk(self) -> list[str]:
        """The names of the identities, and of anything unfinished."""
        folder = self.state / "identities"
        hidden = [str(one.name) for one in self.state.rglob(".*")]
        return hidden + (sorted(one.name for one in folder.iterdir()) if folder.is_dir() else [])

    def close(self) -> None:
        for terminal in self.terminals:
            terminal.close()
        self.proxy.close()
        self.swtpm.kill()


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    """A scene; afterwards all its processes are ended."""
    folder = Path(tempfile.mkdtemp(prefix="tc-", dir="/tmp"))
    stage = Scene(folder)
    try:
        yield stage
    finally:
        stage.close()
        wait_until(lambda: _nothing_left(folder), "the ends of workers")
        shutil.rmtree(folder, ignore_errors=True)


def _nothing_left(folder: Path) -> bool:
    try:
        assert_nothing_left(folder)
    except AssertionError:
        return False
    return True


class Broker:
    """A tpm2-abrmd over the proxy, on a message bus of its own.

    Args:
        folder: for the bus's socket.
        proxy: the TPM's.
        connections: the number that it accepts at once.
    """

    def __init__(self, folder: Path, proxy: Proxy, connections: int = 100) -> None:
        self.bus = folder / "bus"
        self._proxy = proxy
        self._connections = connections
        configuration = folder / "bus.conf"
        configuration.write_text(bus_configuration(self.bus))
        self._dbus = self._run("dbus-daemon", bus_arguments(configuration))
        wait_until(lambda: self._presence() is not None, "the bus", seconds=PATIENCE_S)
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        return {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.bus}"}

    def start(self) -> None:
        arguments = [
            one for one in abrmd_arguments(self._proxy.path) if not one.startswith("--max-conn")
        ]
        self._abrmd = self._run(
            "tpm2-abrmd", [*arguments, f"--max-connections={self._connections}"]
        )
        answers = Presence.ANSWERS
        wait_until(lambda: self._presence() is answers, "tpm2-abrmd", seconds=PATIENCE_S)

    def _presence(self) -> Presence | None:
        """Return what the bus says about tpm2-abrmd; None if it does not listen yet."""
        try:
            return ask(self.bus, TABRMD_NAME, timeout_s=3)
        except OSError:
            return None

    @property
    def pid(self) -> int:
        return self._abrmd.pid

    def kill(self) -> None:
        self._abrmd.kill()
        self._abrmd.wait()

    def close(self) -> None:
        self.kill()
        self._dbus.kill()
        self._dbus.wait()

    def _run(self, program: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        command = [find_program(program), *arguments]
        return subprocess.Popen(
            command, stdin=quiet, stdout=quiet, stderr=quiet, env=self.environment
        )
