"""Pass events to a Textual app one at a time.

Textual gives a letter directly to the focused input, while Backspace first travels up to the app to
find its binding. If several keys arrive together, as when the user types while the app is busy, the
letters would overtake the other keys. Therefore an event is passed to the app only when the
previous event has been handled: a callback follows it from node to node and arrives after it.
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
"""An event that takes longer than this to handle does not delay the next one."""
_MANY = 32


class InOrder:
    """A queue of events in front of the app's own queue.

    Args:
        app: the app that receives them.
        deliver: passes one event to the app.
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
        """Whether the app should catch up before more input is read.

        Without this, the app would be busy with a burst of noise for minutes after its end.
        """
        return len(self._waiting) > _MANY

    def put(self, event: Message) -> None:
        """Deliver an event when it is its turn."""
        self._waiting.append(event)
        self._was_full |= self.full
        self._next()

    def clear(self) -> None:
        """Discard what has not been delivered."""
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
        """Send a callback after the last event; it arrives when that event has been handled."""
        timer = self._following = self._loop.call_later(_PATIENCE_S, self._arrived)
        way = self._way()

        def step() -> None:
            if self._following is timer:
                callback = events.Callback(callback=step)
                if not any(node.post_message(callback) for node in way):
                    self._arrived()

        step()

    def _way(self) -> Iterator[DOMNode]:
        """The nodes that an event visits, and the app again for what its binding calls later."""
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
