"""The tables that end ``make faults``, ``make attacks`` and ``make attest``: what was done,
expected and seen.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

KINDS = ("faults", "attacks", "lies")
_WIDTHS = (26, 46, 60)


def row_of(mark: Any, parameters: Mapping[str, Any], notes: list[str]) -> tuple[str, Any]:
    """A test's row, as one of its ``user_properties``.

    Args:
        mark: ``@pytest.mark.faults(fault, expected)``, or the same with ``attacks``.
        parameters: of the test, for the words of the mark.
        notes: what was seen; the test goes on writing into it.
    """
    done, expected = (words.format(**parameters) for words in mark.args)
    return mark.name, (done, expected, notes)


def write_tables(terminalreporter: Any) -> None:
    """Write a table of each kind of which there are rows."""
    for kind in KINDS:
        rows = [
            (done, expected, _seen(outcome, notes))
            for outcome in ("passed", "failed", "skipped", "error")
            for report in terminalreporter.stats.get(outcome, ())
            for name, (done, expected, notes) in getattr(report, "user_properties", ())
            if name == kind
        ]
        if rows:
            terminalreporter.section(kind)
            for row in [(kind.removesuffix("s").upper(), "EXPECTED", "SEEN"), *sorted(rows)]:
                for line in _lines(row):
                    terminalreporter.write_line(line)


def _seen(outcome: str, notes: list[str]) -> str:
    if outcome != "passed":
        return outcome.upper()
    return "; ".join(notes) or "as expected"


def _lines(row: tuple[str, ...]) -> Iterator[str]:
    """A row of the table on as many lines as its longest cell needs."""
    cells = [textwrap.wrap(cell, width) for cell, width in zip(row, _WIDTHS, strict=True)]
    for index in range(max(map(len, cells))):
        parts = (cell[index] if index < len(cell) else "" for cell in cells)
        padded = (part.ljust(width) for part, width in zip(parts, _WIDTHS, strict=True))
        yield "  ".join(padded).rstrip()
