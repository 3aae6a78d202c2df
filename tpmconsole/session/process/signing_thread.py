"""The thread of a session that runs everything that may wait for the TPM."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
_Job = tuple[Callable[[], object], "Future[object]"]


class _Turns:
    """A queue of jobs, each with an owner; every owner's first job comes before any second one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str | None, deque[_Job]] = {}
        # Owners in the order of their turns, without the owner whose job is running.
        self._order: deque[str | None] = deque()

    def put(self, owner: str | None, job: _Job) -> None:
        """Add a job to the queue."""
        with self._changed:
            jobs = self._waiting.get(owner)
            if jobs is None:
                jobs = self._waiting[owner] = deque()
                self._order.append(owner)
                self._changed.notify()
            # While the TPM hangs nothing is taken out, and peers connect and give up.
            while jobs and jobs[0][1].cancelled():
                jobs.popleft()
            jobs.append(job)

    def take(self) -> tuple[str | None, _Job]:
        """Wait for the next job and take it; its owner gets no turn until ``give_back``."""
        with self._changed:
            while not self._order:
                self._changed.wait()
            owner = self._order.popleft()
            return owner, self._waiting[owner].popleft()

    def give_back(self, owner: str | None) -> None:
        """Report a job's end: its owner's next one comes after all owners that now wait."""
        with self._changed:
            if self._waiting[owner]:
                self._order.append(owner)
            else:
                del self._waiting[owner]


class SigningThread:
    """One thread for handshakes, so that a TPM that hangs stops nothing else.

    tpm2-openssl before 1.3 breaks if two threads use it; there is never more than this one.
    It is a daemon: a job that never returns does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._turns = _Turns()
        self._busy_since: float | None = None
        threading.Thread(target=self._work, name="signing", daemon=True).start()

    async def run(self, job: Callable[[], T], owner: str | None = None) -> T:
        """Run a job in the thread; cancelling the wait does not stop it.

        Args:
            owner: the peer it is for; however many jobs an owner has queued, they delay the next
                job of another owner by only one.
        """
        future: Future[T] = Future()
        self._turns.put(owner, (job, future))  # type: ignore[arg-type]
        return await asyncio.wrap_future(future)

    @property
    def busy_s(self) -> float:
        """The seconds since the running job began; 0 if no job runs."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _work(self) -> None:
        while True:
            owner, (job, future) = self._turns.take()
            if future.set_running_or_notify_cancel():
                self._do(job, future)
            self._turns.give_back(owner)

    def _do(self, job: Callable[[], object], future: Future[object]) -> None:
        self._busy_since = time.monotonic()
        try:
            answer = job()
        except BaseException as error:  # noqa: BLE001 - it is for the caller that waits
            self._busy_since = None
            future.set_exception(error)
        else:
            self._busy_since = None
            future.set_result(answer)
