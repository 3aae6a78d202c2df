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
        yield EventList(lambda event: f"12:00:00 {event['event']} {event['number']}")

    @property
    def events(self) -> EventList:
        return self.query_one(EventList)

    def numbers(self) -> list[int]:
        """The visible lines."""
        text = str(self.events.content)
        return [int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[:2] == "12"]


def some(*kinds: str, first: int = 0) -> list[dict[str, Any]]:
    return [{"event": kind, "number": first + index} for index, kind in enumerate(kinds)]


async def test_the_newest_is_followed_until_the_cursor_goes_up() -> None:
    async with Shown().run_test() as pilot:
        app: Shown = pilot.app  # type: ignore[assignment]
        app.events.focus()
        assert str(app.events.content) == "no such events"
        app.events.add(some(*["closed"] * 10))
        assert app.numbers() == [5, 6, 7, 8, 9]
        assert app.events.following
        await pilot.press("up")
        assert not app.events.following
        app.events.add(some("closed", first=10))
        assert app.numbers() == [5, 6, 7, 8, 9]
        assert app.events.chosen == {"event": "closed", "number": 8}
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
        assert app.events.add(some(*kinds)) == 5
        assert app.events.add([]) == 0
        assert app.numbers() == [0, 1, 3, 4, 6]
        app.events.next_filter()
        assert app.events.filter.name == "all"
        assert app.events.count == 7
        assert app.events.to_last_error()
        assert app.events.chosen == {"event": "error", "number": 4}
        app.events.next_filter()
        assert app.numbers() == [1, 4]
        app.events.next_filter()
        assert app.numbers() == [3, 6]
        app.events.next_filter()
        assert app.numbers() == [2, 5]
        # This filter hides errors, so the jump shows all but messages again.
        assert app.events.to_last_error()
        assert app.events.filter.name == "all but messages"
        assert app.events.chosen == {"event": "error", "number": 4}


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_list, "KEPT", 100)
    async with Shown().run_test() as pilot:
        app: Shown = pilot.app  # type: ignore[assignment]
        app.events.add(some(*["closed"] * 90))
        app.events.add(some(*["closed"] * 90, first=90))
        assert app.events.count == 100
        assert app.numbers()[-1] == 179
