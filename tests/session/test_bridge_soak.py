"""Ten thousand handshakes over the bridge leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.soaking import soak_bridge

HANDSHAKES = 10_000
# A leak of 32 bytes per handshake would be more.
MOST_BYTES = 256 * 1024


@pytest.mark.long
@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "rsa-2048"])
def test_ten_thousand_handshakes_leave_nothing(tmp_path: Path, kind: str) -> None:
    grown = soak_bridge(tmp_path, kind, HANDSHAKES)
    print(grown)
    assert grown.rss_bytes < MOST_BYTES
    assert grown.descriptors == 0
