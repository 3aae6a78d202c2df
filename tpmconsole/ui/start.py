"""Opening the console: the TPM first, because it starts while Textual is still importing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpmconsole.board import Board
from tpmconsole.memory import leave_no_core
from tpmconsole.settings import Settings
from tpmconsole.ui.terminal.profile import LineProfile, current, prepare_environment

if TYPE_CHECKING:
    from tpmconsole.ui.app import ConsoleApp


def open_console(settings: Settings) -> int:
    """Run the console until it is left.

    Args:
        settings: this run's settings.

    Returns:
        The exit code: 128 plus the number of the signal where one ended it.

    Raises:
        ConsoleError: there is no terminal that can show it, or it crashed.
    """
    profile = current(settings.line, mouse=settings.mouse)
    prepare_environment(profile)
    leave_no_core()  # after the line was judged by what /proc/self tells
    board = Board(settings)
    board.tpm.start()
    try:
        app = build_app(board, profile)
        app.run(mouse=profile.mouse)
        if app.failure is not None:
            raise app.failure
        return app.return_code or 0
    finally:
        board.close(leave=True)


def build_app(board: Board, profile: LineProfile | None = None) -> ConsoleApp:
    """The one factory of the app: for the command line, the tests and the screenshots.

    Args:
        board: what it works on.
        profile: the line; None for none, as in tests.
    """
    from tpmconsole.ui.app import ConsoleApp

    return ConsoleApp(board, profile)
