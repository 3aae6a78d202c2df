"""The cost of an import: each file of an identity is read and parsed once (counted, not timed)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tpmconsole.board import Board
from tpmconsole.board.certificates import demo_sign, install_certificate, judge_certificate
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.identity import identity as identity_module
from tpmconsole.settings import Settings
from tpmconsole.system import files
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.model import Algorithm
from tpmconsole.x509.request_spec import RequestSpec


def test_an_import_reads_the_key_once_and_parses_it_no_more(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(settings(simulate=True))
    create_key(board, "gateway", Algorithm.EC_P256)
    make_request(board, "gateway", RequestSpec("CN=gateway", ("dns:localhost",), "both"))
    demo_sign(board, "gateway")
    bundle = board.identities.get("gateway").certificate.read_bytes()
    counted: Counter[str] = Counter()
    read, parse = files.read_bounded, keyfile.parse

    def reading(path: Path, most: int, **more: Any) -> bytes:
        counted[path.name] += 1
        return read(path, most, **more)

    def parsing(pem: bytes) -> Any:
        counted["parse"] += 1
        return parse(pem)

    monkeypatch.setattr(identity_module, "read_bounded", reading)
    monkeypatch.setattr(keyfile, "parse", parsing)
    judgement = judge_certificate(board, "gateway", [bundle], None, None)
    assert "key-proof" in {finding.name for finding in judgement.verdicts}
    assert not install_certificate(board, "gateway", judgement)
    assert counted["key.pem"] == 1
    assert counted["parse"] == 0  # the request has parsed it, and it has not changed since
    board.close()
