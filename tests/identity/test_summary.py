"""The progress of an identity on one line, read only from the disk."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import DAY, NOW, ca, leaf

from tpmconsole.board import Board
from tpmconsole.identity.store import IdentityStore
from tpmconsole.identity.summary import Summary, summarise
from tpmconsole.settings import Settings
from tpmconsole.x509.request import build
from tpmconsole.x509.request_spec import RequestSpec

ROOT = ca("Root")


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    made = IdentityStore(tmp_path / "identities")
    made.create("pump", key_pem=b"key", handle=None, algorithm="ec-p256", auth="none", now=NOW)
    return made


def _install(store: IdentityStore, left: timedelta) -> None:
    one = leaf(ROOT, begin=NOW - DAY, end=NOW + left + timedelta(minutes=1))
    store.install("pump", one.pem, ROOT.pem)


def _ask(store: IdentityStore) -> None:
    request = build(leaf(ROOT).key, RequestSpec("CN=pump"))
    store.save_request("pump", request.public_bytes(Encoding.PEM), "client")


def _summary(store: IdentityStore, warn_days: int = 30) -> Summary:
    return summarise(store.get("pump"), NOW, warn_days)


def test_from_the_key_to_ready_and_on_to_the_renewal(store: IdentityStore) -> None:
    assert (_summary(store).state, _summary(store).made) == ("KEY", NOW)
    _ask(store)
    one = _summary(store)
    assert (one.state, one.request_subject, one.renewing) == ("REQUEST", "CN=pump", False)
    assert one.requested is not None
    _install(store, 90 * DAY)
    one = _summary(store)
    assert (one.state, one.detail, one.can_undo) == (
        "READY", f"until {NOW + 90 * DAY:%Y-%m-%d}, 90 days", False
    )  # fmt: skip
    _ask(store)
    later = one.not_after.timestamp() if one.not_after else 0
    os.utime(store.get("pump").request, (later, later))
    one = _summary(store)
    assert one.renewing
    assert one.detail.endswith("renewal waits for the CA")


@pytest.mark.parametrize(
    ("left", "warn_days", "state"),
    [(31, 30, "READY"), (29, 30, "EXPIRES"), (29, 10, "READY"), (80, 90, "EXPIRES"),
     (-1, 30, "EXPIRED"), (0, 0, "READY")],
)  # fmt: skip
def test_the_end_is_told_in_time(
    store: IdentityStore, left: int, warn_days: int, state: str
) -> None:
    _install(store, left * DAY)
    assert _summary(store, warn_days).state == state


def test_who_trusts_no_peer_is_not_ready(store: IdentityStore) -> None:
    _install(store, 90 * DAY)
    store.drop_anchor("pump", ROOT.certificate.fingerprint(SHA256()).hex())
    assert (_summary(store).state, _summary(store).has_trust) == ("NO TRUST", False)


def test_the_days_are_a_setting(store: IdentityStore) -> None:
    _install(store, 20 * DAY)
    for days, state in ((30, "EXPIRES"), (10, "READY")):
        board = Board(Settings(state=store.root.parent, warn_days=days))
        assert [one.state for one in board.summaries()] == [state]


def test_what_is_damaged_is_told_and_not_raised(store: IdentityStore) -> None:
    _install(store, 90 * DAY)
    folder = store.get("pump").folder
    (folder / "certificate.pem").write_text("not any more")
    assert _summary(store).state == "ERROR"
    assert not _summary(store).key_lost
    (folder / "key.pem").unlink()
    assert _summary(store).key_lost
    assert (_summary(store).state, _summary(store).detail) == (
        "ERROR", "its key is gone: no key.pem"
    )  # fmt: skip
