"""A new key for an old identity: which anchors it trusts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.pki import ca
from support.swtpm import SwtpmAlone

from tpmconsole.board import Board
from tpmconsole.board.certificates import demo_sign
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request, renew
from tpmconsole.board.trust import add_anchors
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm, Connection
from tpmconsole.x509.demo_ca import is_demo_root
from tpmconsole.x509.request_spec import RequestSpec

OWN = ca("Own CA")


@pytest.mark.parametrize("real", [False, True], ids=["simulated", "real"])
@pytest.mark.parametrize("own", [False, True], ids=["demo", "demo-and-own"])
def test_the_demo_ca_is_not_carried_over_on_a_real_tpm(
    settings: Callable[..., Settings],
    alone: SwtpmAlone,
    monkeypatch: pytest.MonkeyPatch,
    real: bool,
    own: bool,
) -> None:
    board = Board(settings(tcti=alone.connection.tcti, tcti_source="--tcti"))
    try:
        create_key(board, "gw", Algorithm.EC_P256)
        make_request(board, "gw", RequestSpec("CN=gw"))
        demo_sign(board, "gw")
        if own:
            add_anchors(board, "gw", OWN.pem)
        (demo,) = filter(is_demo_root, board.identities.trust_certificates("gw"))
        connect = Board.connect

        def connected(self: Board) -> Connection:
            return replace(connect(self), simulated=not real)

        monkeypatch.setattr(Board, "connect", connected)
        renew(board, "gw", new_name="gw-2")
        new = board.identities.get("gw-2")
        trusted = board.identities.trust_certificates("gw-2") if new.has_trust else []
    finally:
        board.close()
    assert trusted == [*([] if real else [demo]), *([OWN.certificate] if own else [])]
    assert new.has_request
