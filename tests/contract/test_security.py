"""SECURITY.md names the test behind each sentence: they are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
NAMED = sorted(
    set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", (TESTS.parent / "SECURITY.md").read_text()))
)


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda one: one or "all")
def test_a_named_test_is_there(file: str, test: str) -> None:
    assert f"def {test or 'test_'}" in (TESTS / file).read_text()


def test_some_are_named() -> None:
    assert len(NAMED) > 30
