"""The child process that owns the ESAPI context: ``python -m tpmconsole.tpm.worker``.

It reads one job a line from standard input; each gets two lines back: that it has begun, so that
one that never did can be given to another worker, and its answer. A hung TPM blocks it
for ever, so the console kills it when a deadline is missed. It ends by itself when standard input
closes: the console is gone. (PR_SET_PDEATHSIG would not do: it fires when the *thread* ends that
started us.)
"""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.logs import redact
from tpmconsole.memory import leave_no_core
from tpmconsole.tpm import wire

if TYPE_CHECKING:
    from tpmconsole.tpm.jobs.context import Context

GRACE_S = 2.0  # for a job to finish and flush what it loaded, after we were told to end
_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

LOG = logging.getLogger("tpmconsole.tpm.worker")


class _Inbox:
    """Lines from the console until there are no more; then the end, within ``GRACE_S``."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # Blocked everywhere and waited for: a handler would not run while C code is stuck.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
        for target in (self._read, self._await_signal):
            threading.Thread(target=target, daemon=True).start()

    def next(self) -> bytes | None:
        """The next line, or None at the end."""
        return self._lines.get()

    def _read(self) -> None:
        for line in self._source:
            self._lines.put(line)
        self._end()

    def _await_signal(self) -> None:
        signal.sigwait(_ENDINGS)
        self._end()

    def _end(self) -> None:
        self._lines.put(None)
        timer = threading.Timer(GRACE_S, os._exit, (1,))
        timer.daemon = True
        timer.start()


class Worker:
    """Answers jobs about the TPM that ``connect`` named."""

    def __init__(self) -> None:
        self._context: Context | None = None

    def answer(self, line: bytes) -> dict[str, Any]:
        """Do one job; every failure is an answer too."""
        try:
            message = wire.decode(line)
            return {"result": self._run(message["job"], message["arguments"])}
        except ConsoleError as error:
            return {"error": error.to_json()}
        except Exception as error:  # noqa: BLE001 - the log gets it, the user gets words
            # Names and places only: the values could hold a password.
            LOG.error("%s", redact(_places(error)))  # noqa: TRY400 - no values
            return {"error": _unexpected(error).to_json()}

    def _run(self, job: str, arguments: dict[str, Any]) -> Any:
        from tpmconsole.tpm.jobs.context import Context
        from tpmconsole.tpm.jobs.table import JOBS

        if job == "connect":
            self.close()
            os.environ.update(arguments["environment"])
            self._context = Context(arguments["tcti"])
            return None
        assert self._context is not None  # noqa: S101 - the console connects first
        return JOBS[job](self._context, **arguments)

    def close(self) -> None:
        """Give the connection up."""
        if self._context is not None:
            self._context.close()


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
    protocol = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return protocol


def _load_libraries() -> None:
    """Load the TSS while the console finds out which TPM.

    Raises:
        ConsoleError: it is not installed.
    """
    try:
        import tpmconsole.tpm.jobs.table  # noqa: F401 - loads tpm2_pytss
    except ImportError as error:
        raise ConsoleError(
            "TPM libraries missing",
            str(error),
            "install tpm2-tss (Debian: libtss2-esys, libtss2-tctildr) and tpm2-pytss",
            ExitCode.UNEXPECTED,
        ) from error


def main() -> int:
    """Serve until there are no more jobs."""
    output = _private_output()
    leave_no_core()
    faulthandler.enable()
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"
    )
    inbox = _Inbox(sys.stdin.buffer)
    worker = Worker()

    def send(answer: dict[str, Any]) -> None:
        output.write(wire.encode(answer))
        output.flush()

    try:
        _load_libraries()
        send({"result": "ready"})
        while (line := inbox.next()) is not None:
            send({"result": "begun"})
            send(worker.answer(line))
    except ConsoleError as error:
        send({"error": error.to_json()})
    except BrokenPipeError:
        return 0
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
