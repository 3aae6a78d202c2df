"""Which keys are shown, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tpmconsole.text import natural

if TYPE_CHECKING:
    from tpmconsole.tpm.model import KeyFile, PersistentKey

    Key = KeyFile | PersistentKey


class KeyView:
    """A list of keys, narrowed by words and sorted by a column.

    Args:
        row: a key as the table shows it.
        columns: how many columns there are to sort by.

    Attributes:
        shown: the keys that are shown, in their order.
        words: what is looked for, as it was typed; all of it must be in a key's row.
        column: what it is sorted by; None as they were read.
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
        """Other keys."""
        self._all = list(keys)
        self.arrange()

    def add(self, keys: Sequence[Key]) -> list[Key]:
        """More keys; returns those that are shown, at the end until it is arranged again."""
        self._all += keys
        fitting = [key for key in keys if self._fits(key)]
        self._at |= {id(key): number for number, key in enumerate(fitting, len(self.shown))}
        self.shown += fitting
        return fitting

    def index(self, key: Key) -> int | None:
        """Where one of the keys is shown; None where it is not."""
        return self._at.get(id(key))

    def sort_by_next(self) -> None:
        """By the next column; after the last one as they were read."""
        following = 0 if self.column is None else self.column + 1
        self.column = following if following < self._columns else None
        self.arrange()

    def narrow(self, words: str) -> None:
        """Show only the keys whose row has all these words."""
        # What does not fit the beginning of a word does not fit the word.
        among = self.shown if self.words and words.startswith(self.words) else self._all
        self.words = words
        self._show(among)

    def arrange(self) -> None:
        """Narrow and sort again."""
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
