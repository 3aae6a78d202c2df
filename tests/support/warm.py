"""Commands in processes of their own, which do not import anything first.

A process that has imported what commands need forks for each of them. So a command has its own
process, files and environment, as always, and starts in a tenth of the time. Other tests, which
start commands normally, check what they import and how long that takes.

Run with the number of a socket, this is that process.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

PROJECT = Path(__file__).parents[2]
PARTS = ("board", "cli", "identity", "session", "system", "tpm", "x509")
LONGEST_ORDER = 1 << 20
# Two threads must not each start a process that forks.
_ONE_AT_A_TIME = threading.Lock()


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    text: str | None = None,
    timeout_s: float = 60.0,
    closed: int | None = None,
    full: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command like ``subprocess.run``; without a text its input is empty.

    Args:
        closed: the number of a standard stream that it starts without.
        full: the number of one that accepts nothing, as on a full disk.
    """
    file = tempfile.TemporaryFile
    with file() as given, file() as out, file() as errors, Path("/dev/full").open("r+b", 0) as none:
        given.write((text or "").encode())
        given.seek(0)
        files = [none if full == number else one for number, one in enumerate((given, out, errors))]
        code = _order([*arguments], dict(environment), files, timeout_s, closed)
        words = ["tpmconsole", *arguments]
        return subprocess.CompletedProcess(words, code, _text(out), _text(errors))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _order(
    arguments: list[str],
    environment: dict[str, str],
    files: Sequence[IO[bytes]],
    timeout_s: float,
    closed: int | None,
) -> int:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            descriptors = [*(file.fileno() for file in files), theirs.fileno()]
            order = json.dumps(
                {"arguments": arguments, "environment": environment, "closed": closed}
            ).encode()
            with _ONE_AT_A_TIME:
                socket.send_fds(_forker(), [order], descriptors)
        ours.settimeout(timeout_s)
        return int(ours.recv(16))


@cache
def _forker() -> socket.socket:
    """The connection to the process that forks; it ends with ours."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        # No variables of this process: a test may look for processes that name a folder.
        subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            env={"PYTHONPATH": str(PROJECT), "OPENSSL_CONF": os.devnull, "LANG": "C.UTF-8"},
            cwd=PROJECT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    return ours


class _Forker:
    """Fork for each order, and answer how each ended."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._events = selectors.DefaultSelector()
        self._events.register(orders, selectors.EVENT_READ)

    def serve(self) -> None:
        while True:
            for key, _ in self._events.select():
                if key.data is not None:
                    self._ended(key.fd, *key.data)
                elif not self._begin():
                    return

    def _begin(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._orders, LONGEST_ORDER, 4)
        if not data:
            return False
        answer = descriptors.pop()
        pid = os.fork()
        if pid == 0:
            os.close(answer)
            self._orders.close()
            self._events.close()
            _become(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._events.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answer))
        return True

    def _ended(self, process: int, pid: int, answer: int) -> None:
        self._events.unregister(process)
        os.close(process)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(answer, str(code).encode())
        os.close(answer)


def _become(order: dict[str, Any], descriptors: list[int]) -> None:
    """Become the command: take its environment and files, run it, and end."""
    os.environ.clear()
    os.environ.update(order["environment"])
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if order["closed"] is not None:  # as Python itself starts without it
        name = ("stdin", "stdout", "stderr")[order["closed"]]
        setattr(sys, name, None)
        os.close(order["closed"])
    sys.argv = ["tpmconsole", *order["arguments"]]
    from tpmconsole.__main__ import main

    main()


def _load() -> None:
    """Import everything that a command may import."""
    import importlib

    for part in PARTS:
        for path in sorted((PROJECT / "tpmconsole" / part).rglob("*.py")):
            words = path.relative_to(PROJECT).with_suffix("").parts
            if path.stem not in ("__init__", "__main__") and "worker" not in words:
                importlib.import_module(".".join(words))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _load()
    _Forker(socket.socket(fileno=int(sys.argv[1]))).serve()
