"""The tour: its steps in their order, done on a stage that nobody else uses."""

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

# Leaving waits no longer for a step under way; the next start clears what it leaves.
END_S = 1.0


class Tour:
    """One walk through the steps; any thread may call any method.

    Args:
        board: the tour's own: what is in its state directory is thrown away, before and after.
        keep: the state directory itself stays at the end, with its log.
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
        """A tour on the same TPM as a console's or a command's, in a folder of its own.

        Where that TPM is simulated, the tour gets a simulated one for itself.
        """
        return cls(Board(settings.below(FOLDER)), keep=False)

    def do(self, index: int) -> Outcome:
        """Do a step and whatever it needs that was not done before; it may be done again.

        Raises:
            ConsoleError: what went wrong; the step may be tried again.
        """
        with self._turn:
            stage = self._entered()
            module, _, name = STEPS[index].act.partition(".")
            # Imported now: the first paint does not wait for cryptography.
            act = getattr(import_module(f"tpmconsole.board.tour.{module}"), name)
            outcome: Outcome = act(stage)
            return outcome

    def enter(self) -> None:
        """Make sure that nobody else plays here, and that nothing is left from last time.

        Raises:
            ConsoleError: another process is playing, or something left cannot be removed.
        """
        with self._turn:
            self._entered()

    def reset(self) -> None:
        """Begin anew: nothing made, and a simulated TPM as if it were new.

        Raises:
            ConsoleError: something does not end.
        """
        from tpmconsole.board.tour.stage import clear

        with self._turn:
            self._entered()
            clear(self.board.settings)

    def close(self) -> None:
        """End it, in a hurry, and leave nothing behind."""
        from tpmconsole.board.tour.stage import clear

        self._closed = True
        if self._stage is None or self._lock is None:
            self.board.close()
            return
        self._stage.hurry()
        ended = self._turn.acquire(timeout=END_S)
        try:
            self.board.close()
            # Also under a step that does not end: the process does, and what it has started must.
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
            raise ConsoleError("Tour is over", "it is being left", "start it again")
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
    """Take away what a tour left that was killed; one that is being played stays as it is."""
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
    """The state directory, locked; the kernel unlocks it whatever happens.

    Raises:
        ConsoleError: another process has it.
    """
    while True:
        folder = make_private_folder(settings.state)
        lock = FileLock.on_folder(folder)
        try:
            lock.take(_elsewhere(settings))
            # Whoever had it before may have removed it while we waited for the descriptor.
            if folder.exists() and os.fstat(lock.descriptor).st_ino == folder.stat().st_ino:
                return lock
        except BaseException:
            lock.close()
            raise
        lock.close()


def _elsewhere(settings: Settings) -> ConsoleError:
    return ConsoleError(
        "Tour is on elsewhere",
        f"another console or command is using {settings.state}",
        NextStep(
            Action.GIVE_STATE,
            text="leave it there first, or use another state directory ({})",
        ),
    )
