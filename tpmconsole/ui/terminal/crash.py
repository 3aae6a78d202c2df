"""Report a crash in two lines with the path of the log, without traceback or local variables.

Textual would print a traceback with the values of local variables, which may be passwords.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from textual.app import App
from textual.css.query import NoMatches
from textual.widget import MountError
from textual.worker import WorkerFailed

from tpmconsole.errors import ConsoleError, ExitCode

_log = logging.getLogger(__name__)


class QuietCrash(App[Any]):
    """A base class for apps that do not print their own crash.

    After ``run()`` the caller reads `failure`, prints it like any ConsoleError, and exits with
    `return_code`, which is the exit code of the failure.

    Attributes:
        failure: what ended the app, or None.
        log_path: the log with the traceback (without local variables), for the remedy.
    """

    failure: ConsoleError | None = None
    log_path: Path | None = None

    def _handle_exception(self, error: Exception) -> None:
        """End the app because of an unhandled error."""
        if self._exit and isinstance(error, NoMatches | MountError):
            # The app is exiting, and its widgets are removed one by one: on a slow board, a late
            # handler finds that the other widgets have been removed.
            _log.info("gone while leaving: %s", error)
            return
        if self.failure is None:
            _log.error("the screen ended", exc_info=error)
            self.failure = described(error, self.log_path)
        # Textual keeps the error for tests and ends the app; what it would print is dropped.
        super()._handle_exception(error)
        self._exit_renderables.clear()
        self._return_code = int(self.failure.exit_code)

    def _fatal_error(self) -> None:
        """End the app; Textual's method would first render the traceback with local variables."""
        self._close_messages_no_wait()


def described(error: BaseException, log_path: Path | None) -> ConsoleError:
    """Describe an unhandled error to the user: by its type, never with its text.

    Args:
        error: the exception; for a failed worker, its own exception is described.
        log_path: the log with the details.
    """
    if isinstance(error, WorkerFailed):
        error = error.error
    if isinstance(error, ConsoleError):
        return error
    look = f" and see {log_path}" if log_path else ""
    return ConsoleError(
        "Unexpected error",
        f"the screen ended with {type(error).__name__}",
        f"start it again{look}",
        ExitCode.UNEXPECTED,
    )
