"""The list of events: follow, scroll, filter, jump to the last error."""

from __future__ import annotations

from typing import Any

import pytest
from textual.app import App, ComposeResult

from tpmconsole.ui.widgets import event_list
from tpmconsole.ui.widgets.event_list import EventList


class Shown(App[None]):
    CSS = "EventList { height: 5; }"

    def compose(self) -> ComposeResult:
        yield EventList(lambda event: ("12:00:00", event["event"], str(event["number"])))

    @property
    def events(self) -> EventList:
        return self.query_one(EventList)

    def numbers(self) -> list[int]:
        """The visible lines."""
        text = str(self.events.content)
        return [int(line.split()[2]) for line in text.splitlines() if line[:3] == " 12"]


def some(*kinds: str, first: int = 0) -> list[dict[str, Any]]:
    return [{"event": kind, "number": first + index} for index, kind in enumerate(kinds)]


async def test_the_newest_is_followed_until_the_cursor_goes_up() -> None:
    async with Shown().run_test() as pilot:
        app: Shown = pilot.app  # type: ignore[assignment]
        app.events.focus()
        assert str(app.events.content) == " no such events"
        app.events.append(some(*["closed"] * 10))
        assert app.numbers() == [5, 6, 7, 8, 9]
        assert app.events.following
        await pilot.press("up")
        assert not app.events.following
        app.events.append(some("closed", first=10))
        assert app.numbers() == [5, 6, 7, 8, 9]
        assert app.events.item == {"event": "closed", "number": 8}
        await pilot.press("pageup")
        assert app.numbers() == [4, 5, 6, 7, 8]
        await pilot.press("home", "up")
        assert app.numbers() == [0, 1, 2, 3, 4]
        await pilot.press("pagedown", "down")
        assert app.numbers() == [1, 2, 3, 4, 5]
        await pilot.press("end")
        assert app.numbers() == [6, 7, 8, 9, 10]
        assert app.events.following


async def test_filters_and_the_last_error() -> None:
    async with Shown().run_test() as pilot:
        app: Shown = pilot.app  # type: ignore[assignment]
        assert not app.events.to_last_error()
        kinds = ("started", "error", "message", "handshake", "error", "message", "closed")
        assert app.events.append(some(*kinds)) == 5
        assert app.events.append([]) == 0
        assert app.numbers() == [0, 1, 3, 4, 6]
        app.events.next_filter()
        assert app.events.filter.name == "all"
        assert app.events.row_count == 7
        assert app.events.to_last_error()
        assert app.events.item == {"event": "error", "number": 4}
        app.events.next_filter()
        assert app.numbers() == [1, 4]
        app.events.next_filter()
        assert app.numbers() == [3, 6]
        app.events.next_filter()
        assert app.numbers() == [2, 5]
        # This filter hides errors, so the jump shows all but messages again.
        assert app.events.to_last_error()
        assert app.events.filter.name == "all but messages"
        assert app.events.item == {"event": "error", "number": 4}


async def test_a_search_hides_nothing_and_goes_on_both_ways() -> None:
    async with Shown().run_test() as pilot:
        app: Shown = pilot.app  # type: ignore[assignment]
        app.events.focus()
        app.events.append(some(*("handshake", "closed", "closed") * 3))
        app.events.start_typing()
        await pilot.press(*"shake", "enter")
        assert app.events.row_count == 9
        assert app.events.title("all") == "all, /shake, 1 of 9"
        for goal in (3, 6, 0):
            app.events.next()
            assert app.events.cursor_row == goal
        app.events.previous()
        assert app.events.cursor_row == 6
        # An event that arrives while someone reads does not move the cursor, in either order.
        app.events.append(some("closed", first=9))
        assert app.events.item == {"event": "handshake", "number": 6}
        app.events.sort()
        app.events.sort()
        assert app.events.cursor_row == 3
        app.events.append(some("closed", first=10))
        assert app.events.item == {"event": "handshake", "number": 6}


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_list, "KEPT", 100)
    async with Shown().run_test() as pilot:
        app: Shown = pilot.app  # type: ignore[assignment]
        app.events.append(some(*["closed"] * 90))
        app.events.append(some(*["closed"] * 90, first=90))
        assert app.events.row_count == 100
        assert app.numbers()[-1] == 179
