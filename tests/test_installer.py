"""What an installation writes: the verdicts may be minutes old by then."""

from __future__ import annotations

from pathlib import Path

import pytest
from identity_pki import NOW, Signer, ca, leaf

from tpmconsole.board import Board
from tpmconsole.errors import ConsoleError
from tpmconsole.identity.certificate import Judgement, judge
from tpmconsole.settings import Settings

ROOT, OTHER = ca("Root"), ca("Other")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    board = Board(Settings(state=tmp_path))
    board.identities.create("pump", key_pem=b"key", handle=None, algorithm="ec-p256", auth="none")
    return board


def _judged(one: Signer, *, role: str = "client") -> Judgement:
    return judge(
        [one.certificate],
        public_key=one.key.public_key(),
        trust=[],
        offered=[ROOT.certificate],
        role=role,
        now=NOW,
    )


def test_a_ca_that_was_trusted_meanwhile_stays_trusted(board: Board) -> None:
    judgement = _judged(leaf(ROOT))
    board.installer.add_anchors("pump", OTHER.pem)
    assert board.installer.install("pump", judgement)
    anchors = board.identities.trust_certificates("pump")
    assert anchors == [OTHER.certificate, ROOT.certificate]


def test_what_fails_is_never_installed(board: Board) -> None:
    judgement = _judged(leaf(ca("Stranger")))
    with pytest.raises(ConsoleError, match="refused"):
        board.installer.install("pump", judgement)
    assert not board.identities.get("pump").has_certificate
    assert not board.identities.get("pump").has_trust
    assert '"failed: Certificate refused"' in board.settings.audit.read_text()
