"""The scene of a fault, and the table of what was expected and what was seen."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults import scene as scenes

_WIDTHS = (26, 46, 60)


@pytest.fixture
def scene() -> Iterator[scenes.Scene]:
    with scenes.scene() as stage:
        yield stage


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes what was seen, for the table; ``@pytest.mark.faults(fault, expected)`` has the rest."""
    notes: list[str] = []
    mark = request.node.get_closest_marker("faults")
    assert mark is not None
    fault, expected = (one.format(**_parameters(request)) for one in mark.args)
    request.node.user_properties.append(("fault", (fault, expected, notes)))
    return notes.append


def _parameters(request: pytest.FixtureRequest) -> dict[str, Any]:
    return (getattr(request.node, "callspec", None) and request.node.callspec.params) or {}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """``make faults`` ends with the table."""
    rows = [
        (fault, expected, "; ".join(notes) if outcome == "passed" else outcome.upper())
        for outcome in ("passed", "failed", "skipped", "error")
        for report in terminalreporter.stats.get(outcome, ())
        for name, (fault, expected, notes) in getattr(report, "user_properties", ())
        if name == "fault"
    ]
    if rows:
        terminalreporter.section("faults")
        for row in [("FAULT", "EXPECTED", "SEEN"), *sorted(rows)]:
            for line in _lines(row):
                terminalreporter.write_line(line)


def _lines(row: tuple[str, ...]) -> Iterator[str]:
    """A row of the table on as many lines as its longest cell needs."""
    cells = [textwrap.wrap(cell, width) for cell, width in zip(row, _WIDTHS, strict=True)]
    for index in range(max(map(len, cells))):
        parts = (cell[index] if index < len(cell) else "" for cell in cells)
        padded = (part.ljust(width) for part, width in zip(parts, _WIDTHS, strict=True))
        yield "  ".join(padded).rstrip()
