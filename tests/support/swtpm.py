"""A swtpm without a resource manager, which tests hang, kill and break."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
from pathlib import Path

from support.waiting import wait_until
from tpmconsole.tpm.model import Connection


class SwtpmAlone:
    """One swtpm over unix sockets in a folder of its own, which keeps its TPM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "tpm"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def connection(self) -> Connection:
        return Connection(f"swtpm:path={self.folder / 'sock'}", "the test's own")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ensure(self) -> Connection:
        """Make it run, whatever was done to it."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        return self.connection

    def start(self, *, startup: bool = True) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        path = self.folder / "sock"
        for old in (path, path.with_suffix(".ctrl")):
            old.unlink(missing_ok=True)
        arguments = [
            f"--tpmstate=dir={self.state}",
            f"--server=type=unixio,path={path},disconnect",
            f"--ctrl=type=unixio,path={path}.ctrl",
            "--flags=not-need-init" + (",startup-clear" if startup else ""),
        ]
        self._process = subprocess.Popen(
            ["/usr/bin/swtpm", "socket", "--tpm2", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: _listens(path) and _listens(Path(f"{path}.ctrl")), "swtpm")

    def hang(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def reset(self) -> None:
        """Reset it as a power cut would: loaded objects are gone, and TPM2_Startup is missing."""
        reset_at(self.folder / "sock.ctrl")

    def break_its_memory(self) -> None:
        """Put the TPM into failure mode at its next write, until it is started again."""
        self.state.rename(self.folder / "gone")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def reset_at(control: Path) -> None:
    """Reset a swtpm by its control socket (swtpm_ioctls(3): PTM_INIT, no flags)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(os.fspath(control))
        connection.sendall(struct.pack(">II", 2, 0))
        assert connection.recv(4) == bytes(4)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.fspath(path))
        except OSError:
            return False
        return True
