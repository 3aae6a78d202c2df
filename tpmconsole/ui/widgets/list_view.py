"""Which items of a list are shown, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar, overload

from tpmconsole.text import natural
from tpmconsole.ui.widgets.table import Column

Item = TypeVar("Item")


class ListView(Generic[Item]):
    """A list of items, narrowed by words and sorted by a column.

    Args:
        row: the texts of an item, one for each column.
        name: what identifies an item, also after the list was read again.
        columns: the columns to sort by.

    Attributes:
        shown: the items that are shown, in their order.
        words: the words to look for, as typed.
        hides: whether items without the words are hidden; else they are only passed over.
        wants: whether an item may be shown at all.
        column: the column to sort by; None for the order in which the items were read.
        reversed: whether the last row comes first.
    """

    def __init__(
        self,
        row: Callable[[Item], Sequence[str]],
        name: Callable[[Item], Hashable],
        columns: Sequence[Column],
        *,
        hides: bool = True,
    ) -> None:
        self.row = row
        self.name = name
        self.columns = columns
        self.hides = hides
        self.wants: Callable[[Item], bool] = lambda _: True
        self.shown: list[Item] = []
        self.words = ""
        self.column: int | None = None
        self.reversed = False
        self._all: list[Item] = []
        self._at: dict[Hashable, int] = {}

    @property
    def all(self) -> Sequence[Item]:
        """The items, shown or not, in the order in which they were read."""
        return self._all

    @property
    def order(self) -> str:
        """The order as text; empty if it is the one in which the items were read."""
        if self.column is None:
            return ""
        backwards = ", reversed" if self.reversed else ""
        return f"by {self.columns[self.column].title.lower()}{backwards}"

    def index(self, name: Hashable) -> int | None:
        """The row of the item with this name; None if it is not shown."""
        return self._at.get(name)

    def replace(self, items: Iterable[Item]) -> None:
        """Take other items."""
        self._all = list(items)
        self.arrange()

    def add(self, items: Sequence[Item]) -> None:
        """Take more items; they stay at the end until the list is arranged again."""
        self._all += items
        fitting = [item for item in items if self._is_shown(item)]
        self._at |= {self.name(item): row for row, item in enumerate(fitting, len(self.shown))}
        self.shown += fitting

    def sort_by_next(self) -> None:
        """Reverse the order, or sort by the next column; after the last one, do not sort."""
        if self.column is None:
            self.column, self.reversed = 0, False
        elif not self.reversed:
            self.reversed = True
        else:
            following = self.column + 1
            self.column = following if following < len(self.columns) else None
            self.reversed = False
        self.arrange()

    def narrow(self, words: str) -> None:
        """Look for other words."""
        # What does not fit the beginning of a word does not fit the word.
        among = self.shown if self.hides and self.words and words.startswith(self.words) else None
        self.words = words
        if self.hides:
            self._show(self._all if among is None else among)

    def arrange(self) -> None:
        """Narrow and sort again."""
        self._show(self._all)

    def fits(self, item: Item) -> bool:
        """Whether an item has all the words: a digest by its beginning, other texts anywhere."""
        if not self.words:
            return True
        texts = [text.casefold() for text in self.row(item)]
        pairs = list(zip(self.columns, texts, strict=False))
        text = " ".join(text for column, text in pairs if not column.digest)
        digests = [text for column, text in pairs if column.digest]
        return all(
            word in text or any(digest.startswith(word) for digest in digests)
            for word in self.words.casefold().split()
        )

    def _is_shown(self, item: Item) -> bool:
        return self.wants(item) and (not self.hides or self.fits(item))

    def _show(self, among: Iterable[Item]) -> None:
        self.shown = [item for item in among if self._is_shown(item)]
        column = self.column
        if column is not None:
            self.shown.sort(key=lambda item: natural(self.row(item)[column]))
            if self.reversed:  # equal ones as well: of two events in a second, the newer is first
                self.shown.reverse()
        self._at = {self.name(item): row for row, item in enumerate(self.shown)}


class LazyRows(Sequence[Sequence[str]], Generic[Item]):
    """The rows of items, made when they are looked at: a screen shows few of ten thousand."""

    def __init__(self, row: Callable[[Item], Sequence[str]], items: Sequence[Item]) -> None:
        self._row = row
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Sequence[str]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sequence[str]]: ...

    def __getitem__(self, index: int | slice) -> Sequence[str] | Sequence[Sequence[str]]:
        if isinstance(index, slice):
            return [self._row(item) for item in self._items[index]]
        return self._row(self._items[index])
