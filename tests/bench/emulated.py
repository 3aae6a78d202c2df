"""What ``make test-board`` measured on the emulated board, if it has been run."""

from __future__ import annotations

import json
from pathlib import Path

from bench.measure import print_heading, print_row

BOARDS = Path(__file__).parents[2] / ".board"


def bench() -> None:
    """Print each release's figures; a board takes minutes, so nothing is measured here."""
    found = sorted(BOARDS.glob("*/figures.json"))
    if not found:
        print_heading("Emulated board: not measured yet; make test-board does")
    for path in found:
        figures: dict[str, str] = json.loads(path.read_text())
        print_heading(f"Emulated board, Debian {path.parent.name}, no KVM (from make test-board)")
        for name, value in figures.items():
            print_row(name, value, "emulated")
