"""The one thread of a session in which everything that may wait for the TPM runs."""

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
    """Jobs that wait, each of somebody; everybody's first one comes before anybody's second."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str | None, deque[_Job]] = {}
        # In the order in which they get their turn; whose job is running is not among them.
        self._order: deque[str | None] = deque()

    def put(self, owner: str | None, job: _Job) -> None:
        """Let a job wait."""
        with self._changed:
            jobs = self._waiting.get(owner)
            if jobs is None:
                jobs = self._waiting[owner] = deque()
                self._order.append(owner)
                self._changed.notify()
            # While the TPM hangs nothing is taken out, and peers come and give up.
            while jobs and jobs[0][1].cancelled():
                jobs.popleft()
            jobs.append(job)

    def take(self) -> tuple[str | None, _Job]:
        """Wait for the next job; its owner gets no other turn before ``give_back``."""
        with self._changed:
            while not self._order:
                self._changed.wait()
            owner = self._order.popleft()
            return owner, self._waiting[owner].popleft()

    def give_back(self, owner: str | None) -> None:
        """The job has ended: its owner's next one comes after those who wait by now."""
        with self._changed:
            if self._waiting[owner]:
                self._order.append(owner)
            else:
                del self._waiting[owner]


class SigningThread:
    """One thread for handshakes, so that a TPM that hangs stops nothing else.

    tpm2-openssl before 1.3 breaks where two threads use it; there is never more than this one.
    It is a daemon: a job that never returns does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._turns = _Turns()
        self._busy_since: float | None = None
        threading.Thread(target=self._work, name="signing", daemon=True).start()

    async def run(self, job: Callable[[], T], owner: str | None = None) -> T:
        """Do a job there; giving up waiting for it does not stop it.

        Args:
            owner: for whom; one who has many jobs waiting delays another one's by a single one.
        """
        future: Future[T] = Future()
        self._turns.put(owner, (job, future))  # type: ignore[arg-type]
        return await asyncio.wrap_future(future)

    @property
    def busy_s(self) -> float:
        """For how many seconds the running job has run; 0 where none runs."""
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
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            self._busy_since = None
            future.set_exception(error)
        else:
            self._busy_since = None
            future.set_result(answer)
