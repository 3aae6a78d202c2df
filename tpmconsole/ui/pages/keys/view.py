"""Select the keys to show, and their order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tpmconsole.board.keys import key_files, keys_inside
from tpmconsole.text import natural
from tpmconsole.ui.background import Progress

if TYPE_CHECKING:
    from tpmconsole.tpm.model import KeyFile, PersistentKey

    Key = KeyFile | PersistentKey
    from tpmconsole.board import Board
    from tpmconsole.board.keys import KeyList


class KeyView:
    """A list of keys, filtered by words and sorted by a column.

    Args:
        row: a key as the table shows it.
        columns: the number of columns that can be sorted.

    Attributes:
        shown: the keys that are shown, in their order.
        words: the filter as it was typed; a key's row must contain all of it.
        column: the column to sort by; None for the order in which the keys were read.
    """

    def __init__(self, row: Callable[[Key], Sequence[str]], columns: int) -> None:
        self._row = row
        self._columns = columns
        self._all: list[Key] = []
        self.shown: list[Key] = []
        self._at: dict[int, int] = {}
        self.words = ""
        self.column: int | None = None

    @property
    def whole(self) -> int:
        """How many keys there are, shown or not."""
        return len(self._all)

    def replace(self, keys: Sequence[Key]) -> None:
        """Replace the keys."""
        self._all = list(keys)
        self.arrange()

    def add(self, keys: Sequence[Key]) -> list[Key]:
        """Add keys; returns those that are shown, at the end until the list is arranged again."""
        self._all += keys
        fitting = [key for key in keys if self._fits(key)]
        self._at |= {id(key): number for number, key in enumerate(fitting, len(self.shown))}
        self.shown += fitting
        return fitting

    def index(self, key: Key) -> int | None:
        """The row of a key; None if it is not shown."""
        return self._at.get(id(key))

    def sort_by_next(self) -> None:
        """Sort by the next column; after the last one, in the order of reading."""
        following = 0 if self.column is None else self.column + 1
        self.column = following if following < self._columns else None
        self.arrange()

    def narrow(self, words: str) -> None:
        """Show only the keys whose row contains all these words."""
        # A row that lacks the beginning of a word lacks the word.
        among = self.shown if self.words and words.startswith(self.words) else self._all
        self.words = words
        self._show(among)

    def arrange(self) -> None:
        """Filter and sort again."""
        self._show(self._all)

    def _show(self, among: Sequence[Key]) -> None:
        self.shown = [key for key in among if self._fits(key)]
        column = self.column
        if column is not None:
            self.shown.sort(key=lambda key: natural(self._row(key)[column]))
        self._at = {id(key): number for number, key in enumerate(self.shown)}

    def _fits(self, key: Key) -> bool:
        if not self.words:
            return True
        text = " ".join(self._row(key)).casefold()
        return all(word in text for word in self.words.casefold().split())


Item = TypeVar("Item")

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


def read(board: Board, paths: Sequence[Path], progress: Progress) -> KeyList:
    """Report the key files as they are read, and return what is inside the TPM.

    Args:
        paths: files and folders; empty for the identities.
    """
    for some in handfuls(key_files(board, paths)):
        progress.tell(some)
        if progress.stopped:
            break
    return keys_inside(board)
