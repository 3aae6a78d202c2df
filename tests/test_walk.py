"""The whole path: from a new state directory to mutual TLS, and the theft that fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.walk import walk


@pytest.fixture
def folder(state: Path) -> Path:
    return state


def test_from_nothing_to_mutual_tls_and_a_theft_that_fails(folder: Path) -> None:
    said: list[str] = []

    facts = walk(folder, said.append)

    for side, peer in (("server", "CN=pump,O=Example"), ("client", "CN=gateway,O=Example")):
        assert facts[side]["protocol_version"] == "TLSv1.3"
        assert facts[side]["cipher"]
        assert facts[side]["peer"]["subject"] == peer
        assert facts[side]["handshakes"] == 1
        assert facts[side]["messages"] == 5
    assert facts["theft"]["usable"] is False
    assert "another TPM" in facts["theft"]["reason"]
    assert facts["refused"]["code"] == 4
    assert any("demo-ca sign" in line for line in said)
