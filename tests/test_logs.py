"""What a log must not contain."""

from __future__ import annotations

import pytest

from tpmconsole.logs import redact


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2",
        "password=b'hunter2'",
        'passphrase: "hunter2 of two"',
        "{'password': 'hunter2 b'}",
        "-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----",
    ],
)
def test_secrets_are_taken_out(text: str) -> None:
    assert "hunter2" not in redact(text)
