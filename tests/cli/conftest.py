"""Run commands without starting Python for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.shell import QuickShell, Shell


@pytest.fixture
def shell(state: Path) -> Shell:
    """Runs commands on the test's state directory, without starting Python for each."""
    return QuickShell(state)
