"""The one thread of a session in which everything that may wait for the TPM runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class SigningThread:
    """One thread for handshakes, so that a TPM that hangs stops nothing else.

    tpm2-openssl before 1.3 breaks where two threads use it; there is never more than this one.
    It is a daemon: a job that never returns does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], object], Future[object]]] = SimpleQueue()
        self._busy_since: float | None = None
        threading.Thread(target=self._work, name="signing", daemon=True).start()

    async def run(self, job: Callable[[], T]) -> T:
        """Do a job there; giving up waiting for it does not stop it."""
        future: Future[T] = Future()
        self._jobs.put((job, future))  # type: ignore[arg-type]
        return await asyncio.wrap_future(future)

    @property
    def busy_s(self) -> float:
        """For how many seconds the running job has run; 0 where none runs."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _work(self) -> None:
        while True:
            job, future = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            self._busy_since = time.monotonic()
            try:
                answer = job()
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                self._busy_since = None
                future.set_exception(error)
            else:
                self._busy_since = None
                future.set_result(answer)
