"""The example playbook, run by the real Ansible against two boards and a CA by OpenSSL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fleet import Fleet

pytestmark = pytest.mark.fleet


@pytest.fixture
def fleet(state: Path) -> Iterator[Fleet]:
    """Two boards that nobody has touched."""
    boards = Fleet(state, 2)
    yield boards
    boards.stop()


def test_the_playbook_provisions_a_fleet_and_changes_nothing_the_second_time(fleet: Fleet) -> None:
    first = fleet.play()
    for board in fleet.boards:
        assert first[board]["changed"] == 7, first
        (session,) = fleet.console(board, "session", "list")
        assert (session["role"], session["state"]) == ("server", "running")
        report = json.loads((fleet.folder / "reports" / f"{board}.json").read_text())
        assert report["status"]["simulated"] is True
        assert "gateway" in json.dumps(report)
    assert len(list((fleet.ca / "issued").glob("board*.pem"))) == 2

    keys = [(fleet.state(one) / "identities/gateway/key.pem").read_bytes() for one in fleet.boards]
    second = fleet.play()
    for board, key in zip(fleet.boards, keys, strict=True):
        assert (second[board]["changed"], second[board]["failed"]) == (0, 0), second
        assert (fleet.state(board) / "identities/gateway/key.pem").read_bytes() == key
        assert len(fleet.console(board, "session", "list")) == 1
