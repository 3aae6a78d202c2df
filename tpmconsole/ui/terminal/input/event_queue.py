"""Hands events to a Textual app one after the other.

Textual gives a letter straight to the focused input, while Backspace first travels up to the app to
find its binding. So of keys that come together, as they do when somebody types while the app is
busy, the letters would overtake the others. Here an event is given to the app when the one before
has been dealt with: a callback follows it on its way from node to node, and arrives after it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from textual import events
from textual.app import App, ScreenStackError
from textual.dom import DOMNode
from textual.message import Message

_PATIENCE_S = 0.5
"""What takes longer than this to handle does not hold up the next event."""
_MANY = 32


class InOrder:
    """A queue of events before an app's own.

    Args:
        app: who gets them.
        deliver: gives one event to the app.
        on_room: called when a queue that was `full` is empty again.
    """

    def __init__(
        self, app: App[Any], *, deliver: Callable[[Message], None], on_room: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._app = app
        self._deliver = deliver
        self._on_room = on_room
        self._waiting: deque[Message] = deque()
        self._last: float | None = None
        self._following: asyncio.TimerHandle | None = None
        self._was_full = False

    @property
    def full(self) -> bool:
        """Whether the app should catch up first.

        So a storm of noise ends when it ends, and not minutes later.
        """
        return len(self._waiting) > _MANY

    def put(self, event: Message) -> None:
        """Deliver an event when its turn has come."""
        self._waiting.append(event)
        self._was_full |= self.full
        self._next()

    def clear(self) -> None:
        """Forget what has not been delivered."""
        self._waiting.clear()
        self._was_full = False
        if self._following is not None:
            self._following.cancel()
            self._following = None

    def _next(self) -> None:
        if self._following is not None:
            return
        if self._last is not None and self._loop.time() - self._last < _PATIENCE_S:
            self._follow()
        else:
            self._arrived()

    def _follow(self) -> None:
        """Send a callback after the last event; it arrives when that was handled."""
        timer = self._following = self._loop.call_later(_PATIENCE_S, self._arrived)
        way = self._way()

        def step() -> None:
            if self._following is timer:
                callback = events.Callback(callback=step)
                if not any(node.post_message(callback) for node in way):
                    self._arrived()

        step()

    def _way(self) -> Iterator[DOMNode]:
        """The nodes an event visits; the app once more, for what its binding asked to be called."""
        try:
            target: DOMNode = self._app.focused or self._app.screen
        except ScreenStackError:
            return iter((self._app,))
        return iter((self._app, *target.ancestors_with_self, self._app))

    def _arrived(self) -> None:
        if self._following is not None:
            self._following.cancel()
            self._following = None
        if self._waiting:
            self._last = self._loop.time()
            self._deliver(self._waiting.popleft())
        if self._waiting:
            self._next()
        elif self._was_full:
            self._was_full = False
            self._on_room()
