"""One worker process as the console sees it: started, asked with a deadline, ended.

Only the standard library is imported here: the console's first paint waits for this module.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.secret import Password
from tpmconsole.system.environment import BUSES, plain_environment
from tpmconsole.system.files import PRIVATE_FILE, make_private_folder, refused, remedy
from tpmconsole.tpm.model import Connection
from tpmconsole.tpm.worker import protocol

LEAVE_S = 0.4  # for a worker that was told to end, before it is killed
LONGEST = 20  # times its deadline a job may take where the TPM goes on answering its commands
GONE_S = 0.3  # for a killed one; in a driver's uninterruptible wait it takes longer

# -I leaves PYTHON* variables and the current folder out; what we import from is given instead.
_BOOT = (
    "import sys; sys.path[:] = sys.argv[2:]; from tpmconsole.tpm.worker.__main__ import run; run()"
)


class DeadlineMissedError(Exception):
    """The worker did not answer within so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Deadline:
    """So many seconds from now on, or from the last sign of life on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic() + LONGEST * seconds
        self.restart()

    def restart(self) -> None:
        """There was a sign of life."""
        self._until = min(time.monotonic() + self.seconds, self._last)

    @property
    def left_ms(self) -> float:
        return max(0.0, self._until - time.monotonic()) * 1000


class WorkerEndedError(Exception):
    """The worker's end of the pipe is closed, or what comes out of it makes no sense."""


class NeverBegunError(WorkerEndedError):
    """It ended before it began the job."""


def closing() -> ConsoleError:
    """The answer to every job after ``close``."""
    return ConsoleError(
        "TPM not asked", "the console is closing", "start it again", ExitCode.UNEXPECTED
    )


class WorkerProcess:
    """One worker and the two pipes to it.

    Args:
        log: where its standard error goes.
        wake: a descriptor that becomes readable when everything shall end.
    """

    def __init__(self, log: Path, wake: int) -> None:
        self._wake = wake
        self._buffer = bytearray()
        self.ready = False
        self.connection: Connection | None = None  # the TPM it has been told
        self.proven = False  # that TPM has answered
        # What it has loaded, by handle, where nobody takes that out when it is killed.
        self.held: list[tuple[int, str]] = []
        self.storage_name = ""  # of that TPM's storage key, once it is known
        error = _open_log(log)
        try:
            # Its own session: a ctrl+c at the terminal is the console's to handle.
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOT, "tpmconsole.tpm.worker", *_search_path()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=error,
                # The TSS's chatter; only what went wrong is worth a line in the log.
                env=plain_environment(*BUSES, TSS2_LOG="all+error"),
                start_new_session=True,
                bufsize=0,
            )
        except OSError as problem:
            raise ConsoleError(
                "TPM worker not started",
                f"{sys.executable}: {problem.strerror or problem}",
                remedy(problem) or "check the installation and free memory",
                ExitCode.UNEXPECTED,
            ) from problem
        finally:
            os.close(error)
        assert self.process.stdin is not None  # noqa: S101 - PIPE was asked for
        assert self.process.stdout is not None  # noqa: S101
        self._in = self.process.stdin.fileno()
        self._out = self.process.stdout.fileno()
        os.set_blocking(self._in, False)

    def ask(self, message: dict[str, Any], deadline_s: float) -> Any:
        """Send one message and wait for its answer.

        Raises:
            ConsoleError: the worker's answer is an error, or everything ends.
            DeadlineMissedError: no answer and no sign of life within ``deadline_s``.
            NeverBegunError: it ended before it began.
            WorkerEndedError: it ended before it answered.
        """
        deadline = _Deadline(deadline_s)
        try:
            for part in protocol.pack(message):
                self._write(part, deadline)
            self._answer(deadline)
        except WorkerEndedError as error:
            raise NeverBegunError from error
        return self._answer(deadline)

    def wait_ready(self, deadline_s: float) -> None:
        """Wait until it has loaded the TSS; raises as ``ask``."""
        if not self.ready:
            self._answer(_Deadline(deadline_s))
            self.ready = True

    def _answer(self, deadline: _Deadline) -> Any:
        while True:
            try:
                answer = protocol.decode(self._read_line(deadline))
            except ValueError as problem:
                raise WorkerEndedError(str(problem)) from problem
            if "alive" not in answer:
                break
            self.held = answer["alive"]
            deadline.restart()
        self.storage_name = answer.get("storage_name", self.storage_name)
        if "error" in answer:
            raise ConsoleError.from_json(answer["error"])
        return answer["result"]

    def _write(self, data: Password, deadline: _Deadline) -> None:
        rest = memoryview(data)
        while rest:
            self._wait(self._in, select.POLLOUT, deadline)
            try:
                rest = rest[os.write(self._in, rest) :]
            except BrokenPipeError as problem:
                raise WorkerEndedError from problem

    def _read_line(self, deadline: _Deadline) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            self._wait(self._out, select.POLLIN, deadline)
            chunk = os.read(self._out, 65536)
            if not chunk or len(self._buffer) > protocol.LINE_LIMIT:
                raise WorkerEndedError
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _wait(self, descriptor: int, event: int, deadline: _Deadline) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        poll.register(self._wake, select.POLLIN)
        ready = dict(poll.poll(deadline.left_ms))
        if self._wake in ready:
            raise closing()
        if not ready:
            raise DeadlineMissedError(deadline.seconds)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def how_it_ended(self) -> str:
        """Why it is gone, in words; kills it where it is not."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GONE_S)
        status = self.process.returncode
        self.kill()
        if status is not None and status < 0:
            return f"it was ended by signal {-status} ({signal.strsignal(-status)})"
        return "its answer made no sense" if status is None else f"it ended with status {status}"

    def leave(self) -> None:
        """Let it finish and put away what it does now if that is short, then end it."""
        assert self.process.stdin is not None  # noqa: S101 - PIPE was asked for
        self.process.stdin.close()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(LEAVE_S)
        self.kill()

    def kill(self) -> None:
        """End it at once; what it had loaded is left to the resource manager."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GONE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def _open_log(log: Path) -> int:
    """The log for writing; nowhere, where the disk is full or read-only: a TPM needs no disk.

    Raises:
        ConsoleError: not even that can be opened.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        make_private_folder(log.parent)
        return os.open(log, flags, PRIVATE_FILE)
    except (ConsoleError, OSError):
        try:
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as problem:
            raise refused(problem, "starting the TPM worker") from problem


def _search_path() -> list[str]:
    """Where the worker imports from: as this process does, checkout or installed."""
    return [folder or str(Path.cwd()) for folder in sys.path]
