"""The child process that owns the ESAPI context: ``python -m tpmconsole.tpm.worker``.

It reads jobs from standard input and writes two lines for each: that the job has begun, so that one
that never began can be given to another worker, and its answer. Between the two it reports
that the TPM still answers: a slow chip is not a hung one. A hung TPM blocks the worker forever, so
the console kills it when a deadline is missed. It exits when standard input closes, because the
console has ended. (PR_SET_PDEATHSIG would not do: it fires when the *thread* that started us ends.)
"""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.logs import redact
from tpmconsole.secret import leave_no_core
from tpmconsole.tpm.worker import protocol

if TYPE_CHECKING:
    from tpmconsole.tpm.worker.jobs.context import Context

ALIVE_S = 0.25  # least time between two reports that the TPM still answers
REST_S = 300.0  # without a job, until what was kept only for speed is released
GRACE_S = 2.0  # for a job to finish and flush what it loaded, after a request to end
_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

LOG = logging.getLogger("tpmconsole.tpm.worker")


class _Inbox:
    """Jobs from the console until the last; then the process ends within ``GRACE_S``."""

    def __init__(self, source: protocol.Source) -> None:
        self._source = source
        self._jobs: queue.SimpleQueue[protocol.Job | None] = queue.SimpleQueue()
        # Blocked in every thread and taken by sigwait: no handler runs while C code is stuck.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
        for target in (self._read, self._await_signal):
            threading.Thread(target=target, daemon=True).start()

    def next(self, resting: Callable[[], None]) -> protocol.Job | None:
        """The next job, or None at the end.

        Args:
            resting: called each time that no job came for ``REST_S``.
        """
        while True:
            try:
                return self._jobs.get(timeout=REST_S)
            except queue.Empty:
                resting()

    def _read(self) -> None:
        try:
            while True:
                self._jobs.put(protocol.read_job(self._source))
        except (EOFError, OSError):
            self._end()
        except ValueError:
            LOG.error("a job from the console cannot be decoded")  # noqa: TRY400 - no values
            self._end()

    def _await_signal(self) -> None:
        signal.sigwait(_ENDINGS)
        self._end()

    def _end(self) -> None:
        self._jobs.put(None)
        timer = threading.Timer(GRACE_S, os._exit, (1,))
        timer.daemon = True
        timer.start()


class _Output:
    """Writes lines to the console.

    Args:
        target: the pipe to the console.
    """

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._last = 0.0
        self._held: dict[int, str] = {}

    def send(self, message: dict[str, Any]) -> None:
        self._target.write(protocol.encode(message))
        self._target.flush()
        self._last = time.monotonic()

    def alive(self, held: Mapping[int, str]) -> None:
        """Report that the TPM still answers, and which objects would remain in it after a kill.

        Args:
            held: as ``Context.held``; empty if a resource manager flushes what we leave.
        """
        if held != self._held or time.monotonic() > self._last + ALIVE_S:
            self._held = dict(held)
            # If the console has ended, the key must still be flushed from the TPM.
            with suppress(BrokenPipeError):
                self.send({"alive": sorted(held.items())})


class Worker:
    """Runs jobs on the TPM that the ``connect`` job named.

    Args:
        output: for signs of life.
    """

    def __init__(self, output: _Output) -> None:
        self._output = output
        self._context: Context | None = None

    def answer(self, job: protocol.Job) -> dict[str, Any]:
        """Run one job and wipe its secrets; every failure is an answer too."""
        try:
            answer = self._answer(job)
            if self._context is not None and self._context.storage.name:
                answer["storage_name"] = self._context.storage.name
            return answer
        finally:
            job.wipe()

    def _answer(self, job: protocol.Job) -> dict[str, Any]:
        try:
            return {"result": self._run(**job.message)}
        except ConsoleError as error:
            return {"error": error.to_json()}
        except Exception as error:  # noqa: BLE001 - the log gets it, the user gets a text
            # Only names and line numbers: the values could hold a password.
            LOG.error("%s", redact(_places(error)))  # noqa: TRY400 - no values
            return {"error": _unexpected(error).to_json()}

    def _run(self, job: str, arguments: dict[str, Any], patience_s: float = 0.0) -> Any:
        from tpmconsole.tpm.worker.jobs import JOBS

        if job == "connect":
            self._connect(**arguments)
            return None
        assert self._context is not None  # noqa: S101 - the console connects first
        self._context.patience_s = patience_s
        return JOBS[job](self._context, **arguments)

    def _connect(
        self,
        tcti: str,
        environment: dict[str, str],
        held: list[tuple[int, str]],
        storage_name: str,
    ) -> None:
        from tpmconsole.tpm.tcti import is_managed
        from tpmconsole.tpm.worker.jobs.context import Context

        self.close()
        os.environ.update(environment)
        managed = is_managed(tcti)

        def answered() -> None:
            self._output.alive({} if managed else context.held)

        self._context = context = Context(tcti, answered, dict(held), storage_name)

    def close(self) -> None:
        """Close the connection, and flush the key that is held for a session."""
        if self._context is not None:
            from tpmconsole.tpm.worker.jobs import held_key

            held_key.release(self._context)
            self._context.rest(keep=False)
            self._context.close()

    def rest(self) -> None:
        """Release what is not needed after a while without a job."""
        if self._context is not None:
            from tpmconsole.tpm.worker.jobs import held_key

            self._context.rest(keep=held_key.is_held(self._context))


def _places(error: BaseException) -> str:
    lines = [f"{type(error).__name__} in a job"]
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"  {code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return "\n".join(lines)


def _unexpected(error: Exception) -> ConsoleError:
    return ConsoleError(
        "Unexpected",
        f"the TPM worker raised {type(error).__name__}",
        "report this with the log (doctor, report)",
        ExitCode.UNEXPECTED,
    )


def _private_output() -> IO[bytes]:
    """Reserve standard output for answers: what C code prints goes to the log."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


def _load_libraries() -> None:
    """Load the TSS while the console chooses the TPM.

    Raises:
        ConsoleError: the TSS is not installed.
    """
    try:
        import tpmconsole.tpm.worker.jobs  # noqa: F401 - loads tpm2_pytss
    except ImportError as error:
        raise ConsoleError(
            "TPM libraries missing",
            str(error),
            "install tpm2-tss (Debian: libtss2-esys, libtss2-tctildr) and tpm2-pytss",
            ExitCode.UNEXPECTED,
        ) from error


def main() -> int:
    """Run jobs until the last one."""
    output = _Output(_private_output())
    leave_no_core()
    faulthandler.enable()
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"
    )
    inbox = _Inbox(open(0, "rb", buffering=0, closefd=False))  # noqa: SIM115 - never closed
    worker = Worker(output)
    try:
        _load_libraries()
        output.send({"result": "ready"})
        while (job := inbox.next(worker.rest)) is not None:
            output.send({"result": "begun"})
            output.send(worker.answer(job))
    except ConsoleError as error:
        output.send({"error": error.to_json()})
    except BrokenPipeError:
        LOG.info("the console has ended")
    worker.close()
    return 0


def run() -> None:
    """Run ``main`` and end the process."""
    status = main()
    sys.stderr.flush()
    # Not sys.exit: it would wait for the thread that reads standard input.
    os._exit(status)


if __name__ == "__main__":
    run()
