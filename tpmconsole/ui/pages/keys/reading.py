"""Reading the list of keys: key files as they are found, then what is inside the TPM."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tpmconsole.board.keys import key_files, keys_inside
from tpmconsole.ui.background import Progress

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.board.keys import KeyList


Item = TypeVar("Item")

DEEPEST = 8  # levels of sub-folders
FIRST, MOST = 20, 250  # a screenful; as many as the table adds at once
PAUSE_S = 0.2


def handfuls(
    items: Iterable[Item], clock: Callable[[], float] = time.monotonic
) -> Iterator[list[Item]]:
    """Group items as they arrive: first a screenful, then those of each fifth of a second."""
    held: list[Item] = []
    most, since = FIRST, clock()
    for item in items:
        held.append(item)
        if len(held) >= most or clock() - since > PAUSE_S:
            yield held
            held, most, since = [], MOST, clock()
    if held:
        yield held


def read(board: Board, paths: Sequence[Path], progress: Progress, *, deep: bool = False) -> KeyList:
    """Report the key files as they are read, and return what is inside the TPM.

    Args:
        paths: files and folders; empty for the identities.
        deep: read the sub-folders of ``paths``, too.
    """
    for some in handfuls(key_files(board, paths, depth=DEEPEST if deep else 0)):
        progress.tell(some)
        if progress.stopped:
            break
    return keys_inside(board)
