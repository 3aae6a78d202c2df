"""A crash in words: two lines and the name of the log, no traceback and no local variables.

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
    """An app that keeps its crash to itself; a base class for others.

    Nothing is printed. After ``run()`` the caller looks at `failure`, prints it as it prints every
    ConsoleError and exits with `return_code`, which is the failure's.

    Attributes:
        failure: what ended the app, or None.
        log_path: where the traceback (without local variables) is found, for the remedy.
    """

    failure: ConsoleError | None = None
    log_path: Path | None = None

    def _handle_exception(self, error: Exception) -> None:
        """End the app because of an error nobody handled."""
        if self._exit and isinstance(error, NoMatches | MountError):
            # It is leaving already, and the parts of a screen go one by one: whoever is late, as on
            # a slow board, finds the others gone.
            _log.info("gone while leaving: %s", error)
            return
        if self.failure is None:
            _log.error("the screen ended", exc_info=error)
            self.failure = described(error, self.log_path)
        # Textual keeps the error for tests and ends the app; what it wants to print is dropped.
        super()._handle_exception(error)
        self._exit_renderables.clear()
        self._return_code = int(self.failure.exit_code)

    def _fatal_error(self) -> None:
        """End the app; Textual's own would first render the traceback with local variables."""
        self._close_messages_no_wait()


def described(error: BaseException, log_path: Path | None) -> ConsoleError:
    """An error nobody handled, as the user is told: its kind, never its text.

    Args:
        error: what was raised; of a failed worker, its own error counts.
        log_path: the log that has the rest.
    """
    if isinstance(error, WorkerFailed):
        error = error.error
    if isinstance(error, ConsoleError):
        return error
    look = f" and look into {log_path}" if log_path else ""
    return ConsoleError(
        "Unexpected error",
        f"the screen ended with {type(error).__name__}",
        f"start it again{look}",
        ExitCode.UNEXPECTED,
    )
