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
    def list(self) -> EventList:
        return self.query_one(EventList)

    def numbers(self) -> list[int]:
        """What is in sight."""
        text = str(self.list.content)
        return [int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[:2] == "12"]


def some(*kinds: str, first: int = 0) -> list[dict[str, Any]]:
    return [{"event": kind, "number": first + index} for index, kind in enumerate(kinds)]


async def test_the_newest_is_followed_until_the_cursor_goes_up() -> None:
    async with Shown().run_test() as pilot:
        app: Shown = pilot.app  # type: ignore[assignment]
        app.list.focus()
        assert str(app.list.content) == "nothing of this kind"
        app.list.add(some(*["closed"] * 10))
        assert app.numbers() == [5, 6, 7, 8, 9]
        assert app.list.following
        await pilot.press("up")
        assert not app.list.following
        app.list.add(some("closed", first=10))
        assert app.numbers() == [5, 6, 7, 8, 9]
        assert app.list.chosen == {"event": "closed", "number": 8}
        await pilot.press("pageup")
        assert app.numbers() == [4, 5, 6, 7, 8]
        await pilot.press("home", "up")
        assert app.numbers() == [0, 1, 2, 3, 4]
        await pilot.press("pagedown", "down")
        assert app.numbers() == [1, 2, 3, 4, 5]
        await pilot.press("end")
        assert app.numbers() == [6, 7, 8, 9, 10]
        assert app.list.following


async def test_filters_and_the_last_error() -> None:
    async with Shown().run_test() as pilot:
        app: Shown = pilot.app  # type: ignore[assignment]
        assert not app.list.to_last_error()
        kinds = ("started", "error", "message", "handshake", "error", "message", "closed")
        assert app.list.add(some(*kinds)) == 5
        assert app.list.add([]) == 0
        assert app.numbers() == [0, 1, 3, 4, 6]
        app.list.next_filter()
        assert app.list.filter.name == "all"
        assert app.list.count == 7
        assert app.list.to_last_error()
        assert app.list.chosen == {"event": "error", "number": 4}
        app.list.next_filter()
        assert app.numbers() == [1, 4]
        app.list.next_filter()
        assert app.numbers() == [3, 6]
        app.list.next_filter()
        assert app.numbers() == [2, 5]
        # Errors are not among these: all but messages are shown again.
        assert app.list.to_last_error()
        assert app.list.filter.name == "all but messages"
        assert app.list.chosen == {"event": "error", "number": 4}


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_list, "KEPT", 100)
    async with Shown().run_test() as pilot:
        app: Shown = pilot.app  # type: ignore[assignment]
        app.list.add(some(*["closed"] * 90))
        app.list.add(some(*["closed"] * 90, first=90))
        assert app.list.count == 100
        assert app.numbers()[-1] == 179
