"""Opening the console: the TPM first, because it starts while Textual is still importing."""

from __future__ import annotations

from tpmconsole.board import Board
from tpmconsole.settings import Settings


def open_console(settings: Settings) -> int:
    """Run the console until it is left.

    Args:
        settings: this run's settings.

    Returns:
        The exit code.

    Raises:
        ConsoleError: standard input or output is no terminal that can show it.
    """
    board = Board(settings)
    board.tpm.start()
    try:
        app = build_app(board)
        app.run(mouse=False)
        return app.return_code or 0
    finally:
        board.close(leave=True)


def build_app(board: Board):  # type: ignore[no-untyped-def]
    """The one factory of the app: for the command line, the tests and the screenshots."""
    from tpmconsole.ui.app import ConsoleApp

    return ConsoleApp(board)
