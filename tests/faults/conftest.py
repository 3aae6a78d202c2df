"""The scene of a fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults import scene as scenes


@pytest.fixture
def scene() -> Iterator[scenes.Scene]:
    with scenes.scene() as stage:
        yield stage
