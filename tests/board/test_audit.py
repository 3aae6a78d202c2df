"""The audit record: which user did what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tpmconsole.board import audit


def test_the_record_names_the_true_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "mallory")
    audit.record(tmp_path / "audit.jsonl", "create", identity="gateway")
    line = json.loads((tmp_path / "audit.jsonl").read_text())
    assert line["user"] != "mallory"
    assert (line["action"], line["identity"]) == ("create", "gateway")
