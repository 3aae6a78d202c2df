"""Two chips of one maker, and a CA that trusts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import chips
from support.chips import Authority, Chip


@pytest.fixture(scope="session")
def chip() -> Iterator[Chip]:
    """The honest board."""
    with chips.chip() as one:
        one.board.simulator.ensure()
        yield one


@pytest.fixture(scope="session")
def other_chip(chip: Chip) -> Iterator[Chip]:
    """The liar's board: its chip is of the same maker, and as good."""
    with chips.chip(chip.maker) as one:
        one.board.simulator.ensure()
        yield one


@pytest.fixture
def authority(tmp_path: Path, chip: Chip) -> Authority:
    return Authority(tmp_path, chip.maker)
