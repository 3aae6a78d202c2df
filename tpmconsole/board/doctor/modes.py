"""Finds our files with wrong modes, and corrects them after confirmation."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tpmconsole.board import Board
from tpmconsole.board.plan import Plan
from tpmconsole.system.files import PRIVATE_FILE, PRIVATE_FOLDER, cannot_write, set_mode
from tpmconsole.system.owners import user_name

# A state directory has at most hundreds of files; a home directory given by mistake has more.
MOST = 20_000


@dataclass(frozen=True, slots=True)
class WrongMode:
    """A file or folder that others can access, or that is not ours.

    Attributes:
        mode: its permission bits.
        wanted: what they should be.
        owner: the name of its owner.
        ours: whether we own it, and so can correct it.
    """

    path: Path
    mode: int
    wanted: int
    owner: str
    ours: bool

    def __str__(self) -> str:
        whose = "" if self.ours else f", of {self.owner}"
        return f"{self.path}: {self.mode:04o}{whose}, should be {self.wanted:04o}"


def wrong_modes(state: Path) -> list[WrongMode]:
    """Everything below the state directory with a wrong mode or owner; links are not followed."""
    return [found for path in _everything(state) if (found := _judge(path)) is not None]


def repair(wrong: Sequence[WrongMode]) -> int:
    """Correct each mode, and return how many were changed.

    Raises:
        ConsoleError: one could not be changed.
    """
    done = 0
    for one in wrong:
        if not one.ours:
            continue
        try:
            set_mode(one.path, one.wanted)
        except OSError as error:
            raise cannot_write(one.path, error) from error
        done += 1
    return done


def _everything(state: Path) -> Iterator[Path]:
    if not state.is_dir():
        return
    yield state
    seen = 0
    for folder, folders, names in os.walk(state):
        for name in (*folders, *names):
            seen += 1
            if seen > MOST:
                return
            yield Path(folder, name)


def _judge(path: Path) -> WrongMode | None:
    try:
        status = path.lstat()
    except OSError:
        return None  # it was removed meanwhile
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return None
    wanted = PRIVATE_FOLDER if stat.S_ISDIR(status.st_mode) else PRIVATE_FILE
    mode = stat.S_IMODE(status.st_mode)
    ours = status.st_uid == os.geteuid()
    if ours and not mode & 0o077:
        return None
    return WrongMode(path, mode, wanted, user_name(status.st_uid), ours)


def plan_repair(board: Board) -> Plan[int] | None:
    """Plan to remove others' access to our files; None if nothing is wrong.

    Its result is how many modes were changed.
    """
    wrong = wrong_modes(board.settings.state)
    if not wrong:
        return None
    return Plan(
        title="Repair modes",
        losses=tuple(map(str, wrong)),
        question="Remove others' access?",
        doing="repairing modes",
        apply=lambda _: repair_modes(board, wrong),
        not_done="Not repaired",
    )


def repair_modes(board: Board, wrong: Sequence[WrongMode]) -> int:
    """Give our files and folders the modes that they should have, and return how many changed.

    Raises:
        ConsoleError: one could not be changed.
    """
    done = repair(wrong)
    if done:
        board.record("repair modes", files=str(done))
    return done
