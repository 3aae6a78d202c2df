"""The table of every list: it filters, sorts and jumps, and the cursor stays on its item."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Generic

from textual import events
from textual.message import Message

from tpmconsole.text import cells
from tpmconsole.ui.command import Command
from tpmconsole.ui.widgets.list_view import Item, LazyRows, ListView
from tpmconsole.ui.widgets.table import Column, Table

LONGEST_TITLE = 200


class ListTable(Table, Generic[Item]):
    """A table of items.

    Args:
        columns: as for ``Table``.
        state_column: as for ``Table``.
        row: the texts of an item, one for each column.
        name: what identifies an item, also after the list was read again.
        header: as for ``Table``.
        hides: whether a filter hides the other rows; else ``n`` and ``N`` go to those that fit.
        sort_key: sorts; ``S`` does so on every list, for pages on which ``s`` means something else.

    Attributes:
        view: which items are shown, and in which order.
        typing: whether letters go into the filter.
        empty: what to show where no item is.
    """

    class Arranged(Message):
        """The filter or the order has changed."""

    def __init__(
        self,
        columns: Sequence[Column],
        state_column: int,
        row: Callable[[Item], Sequence[str]],
        name: Callable[[Item], Hashable],
        *,
        header: bool = True,
        hides: bool = True,
        sort_key: str = "s",
    ) -> None:
        super().__init__(columns, state_column, header=header)
        self.view: ListView[Item] = ListView(row, name, columns, hides=hides)
        self.typing = False
        self._sort_key = sort_key
        # The item that the user last moved the cursor to; a filter may hide it for a while.
        self._kept: Hashable | None = None

    @property
    def item(self) -> Item | None:
        """The item under the cursor."""
        return self.view.shown[self.cursor_row] if self.view.shown else None

    @property
    def narrowed(self) -> bool:
        """Whether a filter is typed or set."""
        return self.typing or bool(self.view.words)

    # The items

    def replace(self, items: Iterable[Item], go_to: Hashable | None = None) -> None:
        """Show other items; the cursor stays on the item that it was on, wherever that is now.

        Args:
            go_to: the name of the item for the cursor instead.
        """
        if go_to is not None:
            self._kept = go_to
        self.view.replace(items)
        self._show()

    def add(self, items: Sequence[Item]) -> None:
        """Show more items, at the end."""
        self.view.add(items)
        self.present(self._rows())
        if self._kept is None:
            self._keep()

    def refresh_rows(self) -> None:
        """Show the items again whose texts have changed."""
        self._lay_out()

    def move_cursor(self, *, row: int) -> None:
        super().move_cursor(row=row)
        self._keep()

    def _keep(self) -> None:
        item = self.item
        self._kept = None if item is None else self.view.name(item)

    def _rows(self) -> Sequence[Sequence[str]]:
        return LazyRows(self.view.row, self.view.shown)

    def _show(self) -> None:
        row = self.view.index(self._kept)
        if row is None:
            row = 0 if self.typing else self.cursor_row
        self.empty = f"no row has '{self.view.words}'; Esc shows all" if self.view.words else ""
        self.present(self._rows(), row)
        if not self.narrowed:
            self._keep()

    def _arranged(self) -> None:
        self._show()
        self.post_message(self.Arranged())

    # What the keys do

    def commands(self) -> tuple[Command, ...]:
        """What every list can do, for the key line, the help and the palette."""
        if self.typing:
            return (
                Command("escape", "Show all", "show all rows again", self.show_all),
                Command("enter", "Done", "keep the filter", self.end_typing),
            )

        def many() -> bool:
            return len(self.view.all) > 1

        def searched() -> bool:
            return not self.view.hides and bool(self.view.words)

        sort = Command(
            "s",
            "Sort",
            "sort by a column; again: reversed; then by the next column (page 4: S only)",
            self.sort,
            many,
            aliases=("S",),
        )
        if self._sort_key != "s":
            sort = replace(sort, key=self._sort_key, aliases=())
        # A visitor may move, but leaves no filter and no order to the next one.
        return (
            Command(
                "escape",
                "Show all" if self.view.hides else "End search",
                "show all rows again",
                self.show_all,
                lambda: self.narrowed,
            ),
            Command(
                "slash",
                "Filter" if self.view.hides else "Search",
                "show only the rows with the words that are typed (of events: go to them)",
                self.start_typing,
                lambda: bool(self.view.all),
            ),
            Command(
                "n", "Next", "of events: go to the next one with the words", self.next, searched
            ),
            Command(
                "N",
                "",
                "of events: go back to the one with the words before",
                self.previous,
                searched,
            ),
            sort,
            *self._moves(many),
        )

    def _moves(self, many: Callable[[], bool]) -> tuple[Command, ...]:
        return (
            Command(
                "j", "", "go down a row", lambda: self._step(1), many, aliases=("down",), kiosk=True
            ),
            Command(
                "k", "", "go up a row", lambda: self._step(-1), many, aliases=("up",), kiosk=True
            ),
            Command(
                "g",
                "",
                "go to the first row",
                lambda: self.move_cursor(row=0),
                many,
                aliases=("home",),
                kiosk=True,
            ),
            Command(
                "G",
                "",
                "go to the last row",
                lambda: self.move_cursor(row=self.row_count - 1),
                many,
                aliases=("end",),
                kiosk=True,
            ),
        )

    def _step(self, rows: int) -> None:
        self.move_cursor(row=self.cursor_row + rows)

    def sort(self) -> None:
        """Reverse the order, or sort by the next column."""
        self.view.sort_by_next()
        self._arranged()

    def start_typing(self) -> None:
        """From now on, letters go into the filter."""
        self.typing = True
        self._arranged()

    def end_typing(self) -> None:
        """Keep the filter, and give the letters their meaning back."""
        self.typing = False
        self._keep()
        self._arranged()

    def show_all(self) -> None:
        """Show all items again."""
        self.typing = False
        self._narrow("")

    def _narrow(self, words: str) -> None:
        self.view.narrow(words)
        if words and not self.view.hides:
            self._find(1, first=0)
        self._arranged()

    def next(self) -> None:
        """Go to the next row that has the words."""
        self._find(1)

    def previous(self) -> None:
        """Go to the row before that has the words."""
        self._find(-1)

    def _find(self, step: int, first: int = 1) -> None:
        shown, here = self.view.shown, self.cursor_row
        for distance in range(first, len(shown) + first):
            row = (here + step * distance) % len(shown)
            if self.view.fits(shown[row]):
                self.move_cursor(row=row)
                return

    def on_key(self, event: events.Key) -> None:
        """While a filter is typed, letters belong to it and are not commands."""
        if not self.typing:
            return
        if event.key == "enter":
            self.end_typing()
        elif event.key == "escape":
            self.show_all()
        elif event.key in ("backspace", "ctrl+h"):
            self._narrow(self.view.words[:-1])
        elif event.is_printable and event.character:
            self._narrow(self.view.words + event.character)
        else:
            return
        event.stop()
        event.prevent_default()  # else Table handles it as well

    # Its title

    def title(self, of: str = "", note: str = "", width: int = LONGEST_TITLE) -> str:
        """Describe what is shown: the filter, the cursor's row, the number of rows, and the order.

        Args:
            of: what the list is of, such as a folder; cut at its beginning if it is too long,
                because the end of a path says more.
            note: what is not in the list.
            width: the most cells.
        """
        count, whole = self.row_count, len(self.view.all)
        # Of one width, so that a move of the cursor does not shift what is beside it.
        place = f"{min(self.cursor_row + 1, count):>{len(str(count))}} of {count}"
        if count < whole:
            place += f" ({whole} in all)"
        words = f"/{self.view.words}{'_' if self.typing else ''}" if self.narrowed else ""
        rest = ", ".join(filter(None, (words, place, self.view.order)))
        room = max(3, width - cells(note) - len(rest) - 2)
        if cells(of) > room:
            of = f"...{of[len(of) - room + 3 :]}"
        return ", ".join(filter(None, (of + note, rest)))
