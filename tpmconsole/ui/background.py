"""Work that must not run in the event loop: each job has a thread and reports by a message.

Daemon threads of our own rather than Textual's workers: those run in asyncio's executor, which is
joined at exit, so that one hung call would keep the console from closing.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textual.message import Message
from textual.message_pump import MessagePump

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.system.files import refused

log = logging.getLogger(__name__)

PATIENCE_S = 5.0


@dataclass(eq=False, slots=True)
class Job:
    """One piece of work.

    Attributes:
        label: what it does, for the status line ("making a key"); empty for silent refreshes.
        work: runs in the thread; must not touch a widget.
        done: called in the event loop with the result of ``work``.
        failed: called with its error; None leaves it to the console, which shows a dialog.
        alone: it removes what other jobs use: it waits for running jobs, and others wait for it.
    """

    label: str
    work: Callable[[], Any]
    done: Callable[[Any], None] | None = None
    failed: Callable[[ConsoleError], None] | None = None
    since: float = field(default_factory=time.monotonic)
    alone: bool = False


class JobFinished(Message):
    """Posted by the job's thread; exactly one of ``result`` and ``error`` counts."""

    def __init__(self, job: Job, result: Any, error: ConsoleError | None) -> None:
        super().__init__()
        self.job = job
        self.result = result
        self.error = error


class JobNews(Message):
    """Posted by the job's thread with what it has so far."""

    def __init__(self, progress: Progress, news: Any) -> None:
        super().__init__()
        self.progress = progress
        self.news = news


class Progress:
    """Lets a long job report what it has so far, and lets the user stop it.

    Args:
        target: receives ``JobNews``.
        heard: called in the event loop with each piece of news, before the job's ``done``; not
            called after the job was stopped.
    """

    def __init__(self, target: MessagePump, heard: Callable[[Any], None]) -> None:
        self._target = target
        self._stop = threading.Event()
        self.heard = heard

    def tell(self, news: Any) -> None:
        """Report news; for the job's thread."""
        self._target.post_message(JobNews(self, news))

    def stop(self) -> None:
        """Make the job end early."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()


class _Gate:
    """A gate that many jobs pass together, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def passed(self, *, alone: bool) -> Iterator[None]:
        """Wait for the turn. A job that runs alone waits at most ``PATIENCE_S`` for a hung TPM."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            if alone:
                self._closed = True
                self._changed.wait_for(lambda: not self._inside, PATIENCE_S)
            else:
                self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                if alone:
                    self._closed = False
                else:
                    self._inside -= 1
                self._changed.notify_all()


class Jobs:
    """The running jobs.

    Args:
        target: receives ``JobFinished``.
        log_file: named in the error if something unexpected was logged.
    """

    def __init__(self, target: MessagePump, log_file: Path) -> None:
        self._target = target
        self._log_file = log_file
        self.running: list[Job] = []
        self._gate = _Gate()

    @property
    def visible(self) -> Job | None:
        """The oldest running job that has a label."""
        return next((job for job in self.running if job.label), None)

    def start(self, job: Job) -> None:
        """Run a job; its result arrives as a message."""
        self.running.append(job)
        thread = threading.Thread(target=self._run, args=(job,), name=job.label, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # out of memory, or the user's limit of processes is reached
            trouble = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            error = refused(trouble, job.label or "refreshing")
            self._target.post_message(JobFinished(job, None, error))

    def finish(self, job: Job) -> None:
        """Forget a job whose message has arrived."""
        self.running.remove(job)

    def _run(self, job: Job) -> None:
        result, error = None, None
        try:
            with self._gate.passed(alone=job.alone):
                result = job.work()
        except ConsoleError as known:
            error = known
        except OSError as trouble:
            log.exception("job failed: %s", job.label)
            error = refused(trouble, job.label or "refreshing")
        except Exception as unknown:  # nothing above this thread would catch it
            log.exception("job failed: %s", job.label)
            error = ConsoleError(
                "Sorry, something unexpected happened",
                f"{type(unknown).__name__} while {job.label or 'refreshing'}",
                f"try again; if it happens again, send us {self._log_file}",
                ExitCode.UNEXPECTED,
            )
        self._target.post_message(JobFinished(job, result, error))
