"""Runs one job at a time on the TPM, each with a deadline, and replaces a broken worker.

This module imports only the standard library: the console's first paint waits for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm.model import Connection
from tpmconsole.tpm.responses import is_transport
from tpmconsole.tpm.worker.process import (
    DeadlineMissedError,
    NeverBegunError,
    WorkerEndedError,
    WorkerProcess,
    closing,
)

LOG = logging.getLogger(__name__)

START_S = 30.0  # imports from a slow flash disk
# How long to retry a TPM that only says "later": a share of the deadline, and the maximum.
PATIENCE, LONGEST_PATIENCE_S = 0.4, 20.0
CLOSE_S = 0.5  # for a running call to notice that the console is closing


@dataclass(frozen=True, slots=True)
class Activity:
    """What the TPM is doing now.

    Attributes:
        label: for people ("making an RSA key").
        since: ``time.monotonic()`` when it began.
    """

    label: str
    since: float


class Dispatcher:
    """The only access to the TPM: one job at a time, each with a deadline.

    Args:
        connect: chooses the TPM; called again whenever the connection was lost.
        log: the log file; the worker's standard error goes there.
        learned: called when a storage key is seen that ``connect`` did not know.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        log: Path,
        learned: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._connect = connect
        self._learned = learned
        self._log = log
        self._turn = threading.Lock()  # held while a job runs
        self._guard = threading.Lock()  # for the two fields below, never held for long
        self._worker: WorkerProcess | None = None
        self._closed = False
        self._wake_out, self._wake_in = os.pipe2(os.O_CLOEXEC)
        self._lost = True
        # Objects that killed workers left loaded, by TCTI. Only a TPM without a resource manager
        # keeps them; the next worker flushes them.
        self._left: dict[str, list[tuple[int, str]]] = {}
        self.connection: Connection | None = None
        self.activity: Activity | None = None

    @property
    def worker_pid(self) -> int | None:
        """The process that runs the jobs; None while no process runs."""
        worker = self._worker
        return None if worker is None else worker.process.pid

    def call(
        self,
        job: str,
        label: str,
        deadline_s: float,
        arguments: Mapping[str, Any] | None = None,
        *,
        repeatable: bool = True,
    ) -> Any:
        """Run one job when its turn comes; its deadline counts from then on.

        Args:
            job: its name in the worker.
            label: what it does, for the screen.
            deadline_s: seconds it may take; more while the TPM still answers its commands.
            arguments: the job's arguments.
            repeatable: whether it may run again if the connection breaks while it runs. If not,
                a ping runs first to detect a broken connection.

        Raises:
            ConsoleError: the TPM cannot be reached, does not answer in time, or refuses.
        """
        with self._turn, self._active(label):
            if not repeatable:
                self._repaired("ping", label, deadline_s, {})
                return self._once(job, label, deadline_s, arguments or {})
            return self._repaired(job, label, deadline_s, arguments or {})

    @contextmanager
    def _active(self, label: str) -> Iterator[None]:
        self.activity = Activity(label, time.monotonic())
        try:
            yield
        finally:
            self.activity = None

    def _repaired(self, job: str, label: str, deadline_s: float, arguments: Any) -> Any:
        """Run a job; retry once if a connection broke that had worked (a restarted daemon)."""
        worker = self._worker
        proven = worker is not None and worker.proven
        try:
            return self._once(job, label, deadline_s, arguments)
        except ConsoleError as error:
            if not (proven and is_transport(error.response_code)):
                raise
            LOG.warning("%s: %s; connecting again", label, error)
            return self._once(job, label, deadline_s, arguments)

    def _once(
        self, job: str, label: str, deadline_s: float, arguments: Any, *, again: bool = True
    ) -> Any:
        """Run a job on the existing worker, or on a new one."""
        worker = self._chosen()
        try:
            patience_s = min(PATIENCE * deadline_s, LONGEST_PATIENCE_S)
            message = {"job": job, "arguments": arguments, "patience_s": patience_s}
            return self._asked(worker, message, deadline_s)
        except DeadlineMissedError as error:
            raise self._missed(worker, label, error.seconds) from None
        except WorkerEndedError as error:
            gone = self._gone(worker, label)
            if self._closed or not again or not isinstance(error, NeverBegunError):
                raise gone from None
        return self._once(job, label, deadline_s, arguments, again=False)

    def _asked(self, worker: WorkerProcess, message: dict[str, Any], deadline_s: float) -> Any:
        assert self.connection is not None  # noqa: S101 - the worker was chosen for it
        try:
            self._introduce(worker, self.connection)
            try:
                result = worker.ask(message, deadline_s)
            finally:
                self._remember(worker, self.connection)
        except ConsoleError as error:
            if is_transport(error.response_code):
                self._lost = True
            # GLib keeps a broken bus connection for the life of its process.
            if not worker.ready or (self._lost and worker.proven):
                self._discard(worker)
            raise
        worker.proven = True
        return result

    def _remember(self, worker: WorkerProcess, connection: Connection) -> None:
        """Store the Name of a storage key that the worker saw for the first time."""
        if worker.storage_name and not connection.storage_name:
            self.connection = replace(connection, storage_name=worker.storage_name)
            self._learned(self.connection)

    def _missed(self, worker: WorkerProcess, label: str, seconds: float) -> ConsoleError:
        self._discard(worker)
        LOG.warning("no answer to '%s' within %g s; worker killed", label, seconds)
        return ConsoleError(
            "TPM does not answer",
            f"no answer within {seconds:g} s while {label}",
            "try again; if it fails again, restart its resource manager or the board",
            ExitCode.NO_TPM,
        )

    def _gone(self, worker: WorkerProcess, label: str) -> ConsoleError:
        how = worker.how_it_ended()
        self._discard(worker)
        if self._closed:
            return closing()
        LOG.warning("the TPM worker ended while %s: %s", label, how)
        return ConsoleError(
            "TPM worker ended",
            f"{how} while {label}",
            f"try again to start a new one; {self._log} may say why",
            ExitCode.UNEXPECTED,
        )

    def _running(self) -> WorkerProcess:
        with self._guard:
            if self._closed:
                raise closing()
            worker = self._worker
            if worker is not None and not worker.alive:
                LOG.warning("the TPM worker ended: %s", worker.how_it_ended())
                worker = None
                self._lost = True
            if worker is None:
                worker = self._worker = WorkerProcess(self._log, self._wake_out)
            return worker

    def _chosen(self) -> WorkerProcess:
        """A worker for the chosen TPM; it loads the TSS while we choose."""
        worker = self._running()
        is_other = False
        if self._lost or self.connection is None:
            self.connection = self._connect()
            self._lost = False
            # A new simulated TPM has the address of the previous one, and another storage key.
            is_other = worker.storage_name not in ("", self.connection.storage_name)
        if is_other or worker.connection not in (None, self.connection):
            # GLib keeps one bus per process: for another TPM it would still use the old bus.
            self._drop(worker)
            worker = self._running()
        return worker

    def _introduce(self, worker: WorkerProcess, connection: Connection) -> None:
        """Tell a worker which TPM to use."""
        worker.wait_ready(START_S)
        if worker.connection is None:
            where = {
                "tcti": connection.tcti,
                "environment": dict(connection.environment),
                "held": self._left.pop(connection.tcti, []),
                "storage_name": connection.storage_name,
            }
            worker.ask({"job": "connect", "arguments": where}, START_S)
            worker.connection = connection

    def _discard(self, worker: WorkerProcess) -> None:
        self._lost = True
        self._drop(worker)

    def _drop(self, worker: WorkerProcess) -> None:
        worker.kill()
        if worker.held and worker.connection:
            self._left[worker.connection.tcti] = worker.held
        with self._guard:
            if self._worker is worker:
                self._worker = None

    def renew(self) -> None:
        """End the worker, and its memory with it; the next job gets a new worker."""
        with self._turn:
            worker = self._worker
            if worker is not None:
                worker.leave()
                self._drop(worker)

    def close(self) -> None:
        """End the worker; a running job fails within a second, later ones at once."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            worker, self._worker = self._worker, None
            os.write(self._wake_in, b"x")
        # The running call stops using its pipes before they are closed, unless it is in connect().
        idle = self._turn.acquire(timeout=CLOSE_S)
        if worker is not None:
            worker.leave()
        if idle:
            os.close(self._wake_in)
            os.close(self._wake_out)
            self._turn.release()
