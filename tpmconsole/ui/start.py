"""Open the console: the TPM first, so that it starts while Textual is still being imported."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from tpmconsole.board import Board
from tpmconsole.errors import ConsoleError
from tpmconsole.secret import leave_no_core
from tpmconsole.settings import Settings
from tpmconsole.text import escape_non_ascii
from tpmconsole.ui.terminal.profile import LineProfile, current, prepare_environment

if TYPE_CHECKING:
    from tpmconsole.board.tour import Tour
    from tpmconsole.ui.app import ConsoleApp

_SIGNALLED = 128  # plus the signal's number: how a shell reports what ended a program


def open_console(settings: Settings) -> int:
    """Run the console until it is left.

    Args:
        settings: this run's settings.

    Returns:
        The exit code: 128 plus the signal's number if a signal ended it.

    Raises:
        ConsoleError: there is no terminal that can show it, or it crashed.
    """
    profile = current(settings.line, mouse=settings.mouse and not settings.kiosk)
    prepare_environment(profile)
    if profile.ascii:
        escape_non_ascii()
    leave_no_core()  # after the line was judged by what /proc/self shows
    with building(settings, profile) as app:
        app.run(mouse=profile.mouse)
        if app.failure is not None:
            raise app.failure
        code = app.return_code or 0
        if code == 0 and not settings.kiosk:
            _tell_running(app.board)
    if code > _SIGNALLED:
        # While the interpreter shuts down, signals have their default action again and the deadline
        # to end still runs: on a slow board the signal, and not our exit code, would end us.
        logging.shutdown()
        os._exit(code)
    return code


def _tell_running(board: Board) -> None:
    """Say in one line that sessions continue without the console, and how to end them."""
    if not board.settings.sessions.is_dir():  # nothing has to be imported to say so
        return
    try:
        running = [one.id for one in board.sessions.list() if not one.state.ended and not one.unit]
    except ConsoleError:  # page 4 has said why
        return
    if running:
        one = len(running) == 1
        what = "1 session continues" if one else f"{len(running)} sessions continue"
        command = f"tpmconsole session stop {running[0] if one else 'ID'}"
        with suppress(OSError):  # the terminal has gone meanwhile
            print(f"{what}; page 4 or '{command}' ends {'it' if one else 'one'}", flush=True)


@contextmanager
def building(settings: Settings, profile: LineProfile | None = None) -> Iterator[ConsoleApp]:
    """Create the app, for the command line, the tests and the screenshots alike.

    At the end, after the screen is gone, everything started for it is stopped.

    Args:
        settings: this run's settings.
        profile: the terminal line; None in tests.

    Raises:
        ConsoleError: another kiosk uses the state directory, or a setting is not valid.
    """
    board = Board(settings)
    with ExitStack() as stack:
        stack.callback(board.close, leave=True)
        tour = _kiosk_tour(board, stack) if settings.kiosk else None
        board.tpm.start()
        _clear_leftovers(settings)
        from tpmconsole.ui.app import ConsoleApp

        app = ConsoleApp(board, profile, tour)
        stack.callback(app.end_tour)
        yield app


def _kiosk_tour(board: Board, stack: ExitStack) -> Tour:
    """A kiosk's tour plays on its own board: visitors find its results on the pages."""
    from tpmconsole.board.tour import Tour

    tour = Tour(board, keep=True)
    stack.callback(tour.close)
    tour.enter()  # before the board's TPM is started: leftovers are thrown away first
    return tour


def _clear_leftovers(settings: Settings) -> None:
    """Remove what a killed tour left, while the user does not wait for it."""
    from tpmconsole.board.tour.story import FOLDER

    if settings.below(FOLDER).state.exists():
        from tpmconsole.board.tour import clear_leftovers

        threading.Thread(target=clear_leftovers, args=(settings,), daemon=True).start()
