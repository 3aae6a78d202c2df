"""The child process that owns the ESAPI context: ``python -m tpmconsole.tpm.worker``.

It reads jobs from standard input; each gets two lines back: that it has begun, so that
one that never did can be given to another worker, and its answer. Between them it says now and then
that the TPM goes on answering: a slow chip is no hung one. A hung TPM blocks it for ever, so the
console kills it when a deadline is missed. It ends by itself when standard input closes: the
console is gone. (PR_SET_PDEATHSIG would not do: it fires when the *thread* ends that started us.)
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

ALIVE_S = 0.25  # at most so often we say that the TPM goes on answering
REST_S = 300.0  # without a job, until what was only kept to be quick is put away
GRACE_S = 2.0  # for a job to finish and flush what it loaded, after we were told to end
_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

LOG = logging.getLogger("tpmconsole.tpm.worker")


class _Inbox:
    """Jobs from the console until there are no more; then the end, within ``GRACE_S``."""

    def __init__(self, source: protocol.Source) -> None:
        self._source = source
        self._jobs: queue.SimpleQueue[protocol.Job | None] = queue.SimpleQueue()
        # Blocked everywhere and waited for: a handler would not run while C code is stuck.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
        for target in (self._read, self._await_signal):
            threading.Thread(target=target, daemon=True).start()

    def next(self, resting: Callable[[], None]) -> protocol.Job | None:
        """The next job, or None at the end.

        Args:
            resting: called each time there was none for a while.
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
            LOG.error("what the console sends makes no sense")  # noqa: TRY400 - no values
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
    """Lines to the console.

    Args:
        target: the pipe to it.
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
        """Say that the TPM goes on answering, and what is loaded in it where we would leave that.

        Args:
            held: as ``Context.held``; empty where a resource manager takes out what we leave.
        """
        if held != self._held or time.monotonic() > self._last + ALIVE_S:
            self._held = dict(held)
            # Where nobody listens any more, the key is still to be taken out of the TPM.
            with suppress(BrokenPipeError):
                self.send({"alive": sorted(held.items())})


class Worker:
    """Answers jobs about the TPM that ``connect`` named.

    Args:
        output: for signs of life.
    """

    def __init__(self, output: _Output) -> None:
        self._output = output
        self._context: Context | None = None

    def answer(self, job: protocol.Job) -> dict[str, Any]:
        """Do one job; every failure is an answer too. Its secrets are wiped then."""
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
        except Exception as error:  # noqa: BLE001 - the log gets it, the user gets words
            # Names and places only: the values could hold a password.
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
        """Give the connection up, and take the key out that is held for a session."""
        if self._context is not None:
            from tpmconsole.tpm.worker.jobs import held_key

            held_key.release(self._context)
            self._context.rest(keep=False)
            self._context.close()

    def rest(self) -> None:
        """There was no job for a while."""
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
        f"the TPM worker met a {type(error).__name__}",
        "report this with the log (doctor, report)",
        ExitCode.UNEXPECTED,
    )


def _private_output() -> IO[bytes]:
    """Keep standard output for answers alone: what C code prints goes to the log."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


def _load_libraries() -> None:
    """Load the TSS while the console finds out which TPM.

    Raises:
        ConsoleError: it is not installed.
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
    """Serve until there are no more jobs."""
    output = _Output(_private_output())
    leave_no_core()
    faulthandler.enable()
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"
    )
    inbox = _Inbox(open(0, "rb", buffering=0, closefd=False))  # noqa: SIM115 - for good
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
        LOG.info("nobody listens any more")
    worker.close()
    return 0


def run() -> None:
    """``main`` as a whole process."""
    status = main()
    sys.stderr.flush()
    # Not sys.exit: it would wait for the thread that reads standard input.
    os._exit(status)


if __name__ == "__main__":
    run()
