"""After each step, a terminal that receives the bytes shows the intended screen."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.painting import frames, shown_in, shown_on, terminal

from tpmconsole.ui.terminal.output.encoder import Encoder
from tpmconsole.ui.terminal.output.grid import Grid
from tpmconsole.ui.terminal.output.painter import Painter

COLUMNS, ROWS = 40, 8

steps = st.lists(
    st.tuples(frames(COLUMNS, ROWS), st.sampled_from([None, 1, 30, 200])), min_size=1, max_size=8
)


@pytest.mark.parametrize("may_clear", [False, True])
@settings(max_examples=80, deadline=None)
@given(steps=steps)
def test_terminal_shows_what_was_wanted(
    may_clear: bool, steps: list[tuple[str, int | None]]
) -> None:
    grid = Grid(COLUMNS, ROWS)
    painter, encoder = Painter(grid), Encoder(COLUMNS, ROWS, may_clear=may_clear)
    screen, stream = terminal(COLUMNS, ROWS)
    for frame, limit in steps:
        painter.feed(frame)
        stream.feed(encoder.encode(grid, limit))
        while rest := encoder.encode(grid, limit):
            stream.feed(rest)
        assert shown_on(screen) == shown_in(grid)
