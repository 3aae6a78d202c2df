"""What an installation writes: the verdicts may be minutes old by then."""

from __future__ import annotations

import pathlib

import pytest
from cryptography import x509
from support.pki import NOW, Extra, Signer, ca, leaf

from tpmconsole.board import Board
from tpmconsole.board.certificates import install_certificate
from tpmconsole.board.sessions import credentials_of
from tpmconsole.board.trust import add_anchors, new_anchors
from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError
from tpmconsole.session.spec import SessionSpec
from tpmconsole.settings import Settings
from tpmconsole.tpm.auth import NO_AUTH
from tpmconsole.x509.judge import Judgement, judge

ROOT, OTHER = ca("Root"), ca("Other")


@pytest.fixture
def board(tmp_path: pathlib.Path) -> Board:
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
    add_anchors(board, "pump", OTHER.pem)
    assert install_certificate(board, "pump", judgement)
    anchors = board.identities.trust_certificates("pump")
    assert anchors == [OTHER.certificate, ROOT.certificate]


def test_only_a_ca_or_one_peer_that_signed_itself_is_trusted(board: Board) -> None:
    """As OpenSSL does, which lets no other certificate vouch for any."""
    device = leaf(ROOT)
    with pytest.raises(ConsoleError, match="is not a CA") as caught:
        new_anchors(board, "pump", ROOT.pem + device.pem)
    assert "CN=Root" in say(caught.value.remedy)
    judgement = judge(
        [device.certificate],
        public_key=device.key.public_key(),
        trust=[ROOT.certificate],
        offered=[device.certificate],
        role="client",
        now=NOW,
    )
    assert ("trust", "fail") in {(one.name, one.state) for one in judgement.verdicts}

    own = ca("Peer", None, Extra(x509.BasicConstraints, x509.BasicConstraints(False, None), True))
    (anchor,) = new_anchors(board, "pump", own.pem)
    assert "not a CA: only this peer" in anchor.trusted_for
    (root,) = new_anchors(board, "pump", ROOT.pem)
    assert root.trusted_for == ""


def test_no_session_starts_with_a_certificate_that_names_another_key(board: Board) -> None:
    named = x509.AuthorityKeyIdentifier.from_issuer_public_key(OTHER.key.public_key())
    odd = leaf(ROOT, Extra(x509.AuthorityKeyIdentifier, named))
    board.identities.install("pump", odd.pem, ROOT.pem)
    with pytest.raises(ConsoleError, match="names another key") as caught:
        credentials_of(board, SessionSpec("client", "pump", "gateway.local", 8443), NO_AUTH)
    assert caught.value.title == "Certificate refused"


def test_what_fails_is_never_installed(board: Board) -> None:
    judgement = _judged(leaf(ca("Stranger")))
    with pytest.raises(ConsoleError, match="refused"):
        install_certificate(board, "pump", judgement)
    assert not board.identities.get("pump").has_certificate
    assert not board.identities.get("pump").has_trust
    assert '"failed: Certificate refused"' in board.settings.audit.read_text()
