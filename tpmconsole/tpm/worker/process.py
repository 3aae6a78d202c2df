"""One worker process as seen from the console: start it, send it jobs with deadlines, end it.

This module imports only the standard library: the console's first paint waits for it.
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

LEAVE_S = 0.4  # for a worker to end when asked to, before it is killed
LONGEST = 20  # times its deadline a job may take while the TPM still answers its commands
GONE_S = 0.3  # for a killed worker to end; in a driver's uninterruptible wait it takes longer

# -I ignores PYTHON* variables and the current folder; our own search path is passed instead.
_BOOT = (
    "import sys; sys.path[:] = sys.argv[2:]; from tpmconsole.tpm.worker.__main__ import run; run()"
)


class DeadlineMissedError(Exception):
    """The worker did not answer within the given number of seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Deadline:
    """A number of seconds from now, or from the last sign of life."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic() + LONGEST * seconds
        self.restart()

    def restart(self) -> None:
        """Start again after a sign of life."""
        self._until = min(time.monotonic() + self.seconds, self._last)

    @property
    def left_ms(self) -> float:
        return max(0.0, self._until - time.monotonic()) * 1000


class WorkerEndedError(Exception):
    """The worker closed its end of the pipe, or sent something that cannot be decoded."""


class NeverBegunError(WorkerEndedError):
    """The worker ended before it began the job."""


def closing() -> ConsoleError:
    """The answer to every job after ``close``."""
    return ConsoleError(
        "TPM not asked", "the console is closing", "start it again", ExitCode.UNEXPECTED
    )


class WorkerProcess:
    """One worker and the two pipes to it.

    Args:
        log: where its standard error goes.
        wake: a descriptor that becomes readable when the console is closing.
    """

    def __init__(self, log: Path, wake: int) -> None:
        self._wake = wake
        self._buffer = bytearray()
        self.ready = False
        self.connection: Connection | None = None  # the TPM it was told to use
        self.proven = False  # whether that TPM has answered
        # Objects it has loaded, by handle, that no one else flushes if it is killed.
        self.held: list[tuple[int, str]] = []
        self.storage_name = ""  # of that TPM's storage key, once it is known
        error = _open_log(log)
        try:
            # In a session of its own: only the console handles a ctrl+c at the terminal.
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOT, "tpmconsole.tpm.worker", *_search_path()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=error,
                # Of the TSS's messages, log only errors.
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
            ConsoleError: the worker's answer is an error, or the console is closing.
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
        """Say why it ended; kill it if it is still running."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GONE_S)
        status = self.process.returncode
        self.kill()
        if status is not None and status < 0:
            return f"it was ended by signal {-status} ({signal.strsignal(-status)})"
        return "its answer was not valid" if status is None else f"it ended with status {status}"

    def leave(self) -> None:
        """Give it a moment to finish its job and flush what it loaded, then end it."""
        assert self.process.stdin is not None  # noqa: S101 - PIPE was asked for
        self.process.stdin.close()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(LEAVE_S)
        self.kill()

    def kill(self) -> None:
        """End it at once; the resource manager flushes what it had loaded."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GONE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def _open_log(log: Path) -> int:
    """Open the log, or /dev/null if the disk is full or read-only: a TPM needs no disk.

    Raises:
        ConsoleError: /dev/null cannot be opened either.
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
    """The folders that the worker imports from: those of this process, checkout or installed."""
    return [folder or str(Path.cwd()) for folder in sys.path]
