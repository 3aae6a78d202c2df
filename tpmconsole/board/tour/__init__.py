"""The tour: runs its steps in a state directory that only it uses."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from importlib import import_module
from typing import TYPE_CHECKING

from tpmconsole.board import Board
from tpmconsole.board.tour.story import FOLDER, STEPS, Outcome
from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.settings import Settings
from tpmconsole.system.files import make_private_folder
from tpmconsole.system.locks import FileLock

if TYPE_CHECKING:
    from tpmconsole.board.tour.stage import Stage

LOG = logging.getLogger(__name__)

# How long closing waits for a running step; the next start clears what that leaves.
END_S = 1.0


class Tour:
    """A run of the tour; any thread may call any method.

    Args:
        board: the tour's own board: its state directory is cleared before and after.
        keep: keep the state directory itself at the end, with its log.
    """

    def __init__(self, board: Board, *, keep: bool) -> None:
        self.board = board
        self._keep = keep
        self._turn = threading.Lock()
        self._lock: FileLock | None = None
        self._stage: Stage | None = None
        self._closed = False

    @classmethod
    def beside(cls, settings: Settings) -> Tour:
        """Make a tour with its own folder on the TPM of a console or a command.

        If that TPM is simulated, the tour gets a simulated TPM of its own.
        """
        return cls(Board(settings.below(FOLDER)), keep=False)

    def do(self, index: int) -> Outcome:
        """Do a step, and first what it needs; a step may be repeated.

        Raises:
            ConsoleError: the step failed; it may be tried again.
        """
        with self._turn:
            stage = self._entered()
            module, _, name = STEPS[index].act.partition(".")
            # Imported only now, so that the first screen does not wait for cryptography.
            act = getattr(import_module(f"tpmconsole.board.tour.{module}"), name)
            outcome: Outcome = act(stage)
            return outcome

    def enter(self) -> None:
        """Lock the state directory, and remove what an earlier tour has left in it.

        Raises:
            ConsoleError: another process uses it, or something cannot be removed.
        """
        with self._turn:
            self._entered()

    def reset(self) -> None:
        """Start again from an empty state directory and, if simulated, a new TPM.

        Raises:
            ConsoleError: a session or the simulator does not end.
        """
        from tpmconsole.board.tour.stage import clear

        with self._turn:
            self._entered()
            clear(self.board.settings)

    def close(self) -> None:
        """End the tour quickly, and remove everything that it made."""
        from tpmconsole.board.tour.stage import clear

        self._closed = True
        if self._stage is None or self._lock is None:
            self.board.close()
            return
        self._stage.hurry()
        ended = self._turn.acquire(timeout=END_S)
        try:
            self.board.close()
            # Even while a step is still running: this process ends, and what it started must, too.
            clear(self.board.settings)
            if not self._keep:
                shutil.rmtree(self.board.settings.state, ignore_errors=True)
        except ConsoleError as error:  # the next start tries again
            LOG.warning("tour not cleared: %s", error)
        finally:
            self._lock.close()
            self._lock = None
            if ended:
                self._turn.release()

    def _entered(self) -> Stage:
        from tpmconsole.board.tour.stage import Stage, clear

        if self._closed:
            raise ConsoleError("Tour is over", "it was closed", "start it again")
        if self._stage is None:
            self._lock = _locked(self.board.settings)
            try:
                clear(self.board.settings)
            except BaseException:
                self._lock.close()
                raise
            self._stage = Stage(self.board)
        return self._stage


def clear_leftovers(settings: Settings) -> None:
    """Remove what a killed tour has left; a tour that is running is left alone."""
    if not settings.below(FOLDER).state.is_dir():
        return
    tour = Tour.beside(settings)
    try:
        tour.enter()
    except ConsoleError as error:
        LOG.info("%s", error)
    finally:
        tour.close()


def _locked(settings: Settings) -> FileLock:
    """Lock the state directory; the kernel unlocks it when the process ends in any way.

    Raises:
        ConsoleError: another process has locked it.
    """
    while True:
        folder = make_private_folder(settings.state)
        lock = FileLock.on_folder(folder)
        try:
            lock.take(_elsewhere(settings))
            # The last owner may have removed the folder while we opened it.
            if folder.exists() and os.fstat(lock.descriptor).st_ino == folder.stat().st_ino:
                return lock
        except BaseException:
            lock.close()
            raise
        lock.close()


def _elsewhere(settings: Settings) -> ConsoleError:
    return ConsoleError(
        "Tour is already running",
        f"another console or command is using {settings.state}",
        NextStep(
            Action.GIVE_STATE,
            text="end it there first, or use another state directory ({})",
        ),
    )
