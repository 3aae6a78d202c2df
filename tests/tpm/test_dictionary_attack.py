"""Resetting the lock-out, and not running into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.key_answers import answer, tries
from support.parent import key_below, make_parent
from support.swtpm import SwtpmAlone
from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, KeyRef

PARENT = 0x81000005


@pytest.fixture
def parent(alone: SwtpmAlone) -> int:
    """A persistent parent with the password ``parent``, whose wrong passwords count."""
    make_parent(alone.connection, PARENT)
    return PARENT


def waste(tpm: Tpm, pem: bytes, count: int) -> None:
    for _ in range(count):
        assert answer(tpm, pem, b"wrong") == "wrong-password"


def test_a_locked_tpm_is_opened_again(alone: SwtpmAlone, client: Callable[..., Tpm]) -> None:
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256, Auth(b"right"))
    waste(tpm, pem, 3)
    assert answer(tpm, pem, b"right") == "locked-out"
    tpm.reset_lockout()
    lockout = tpm.health().lockout
    assert (lockout.locked, lockout.failed_tries) == (False, 0)
    assert answer(tpm, pem, b"right") == "yes"


def test_the_lockout_authorisation_is_never_guessed(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256, Auth(b"right"))
    with pytest.raises(ConsoleError, match="not set; nothing was sent"):
        tpm.reset_lockout(b"superfluous")
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.LOCKOUT, "lockout")
    waste(tpm, pem, 1)
    with pytest.raises(ConsoleError, match="nothing was sent") as caught:
        tpm.reset_lockout()
    assert caught.value.needs == "lockout"
    # That cost nothing: the right one is still taken.
    tpm.reset_lockout(b"lockout")
    assert tries(tpm) == 0
    with pytest.raises(ConsoleError, match="refuses any for 17 min") as caught:
        tpm.reset_lockout(b"wrong")
    assert (caught.value.title, caught.value.needs) == ("Wrong password", None)
    with pytest.raises(ConsoleError, match="a wrong lockout password was tried earlier"):
        tpm.reset_lockout(b"lockout")
    with pytest.raises(ConsoleError, match="66 bytes"):
        tpm.reset_lockout("ä".encode() * 33)


def test_the_last_try_is_only_spent_on_purpose(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure)
    source = KeyRef(tpm.create(Algorithm.EC_P256, Auth(b"right")))
    tpm.persist(source.pem, 0x81000010)
    waste(tpm, source.pem, 2)
    for key in (source, KeyRef(handle=0x81000010)):
        for password in (b"wrong", b"right", b""):
            found = tpm.check_key(key, Auth(password, spend_last_attempt=False))
            assert (found.answer, found.needs) == ("last-try", "consent")
    # Nor is a handle's key signed with in the hope that it has none.
    with pytest.raises(ConsoleError, match="may have a password, and a wrong one would now lock"):
        tpm.sign(KeyRef(handle=0x81000010), bytes(32), "sha256", "ecdsa")
    assert tries(tpm) == 2
    assert tpm.check_key(source, Auth(b"right", spend_last_attempt=True)).usable
    # A key that does not count has no last attempt.
    free = KeyRef(tpm.create(Algorithm.EC_P256, Auth(b"right"), noda=True))
    assert tpm.check_key(free, Auth(b"wrong", spend_last_attempt=False)).answer == "wrong-password"
    assert not tpm.health().lockout.locked
    assert answer(tpm, source.pem, b"wrong") == "wrong-password"
    assert tpm.health().lockout.locked


def test_a_parent_s_password_is_asked_for_and_used(
    alone: SwtpmAlone, client: Callable[..., Tpm], parent: int
) -> None:
    tpm = client(alone.ensure)
    pem = key_below(alone.connection, parent)
    source = KeyRef(pem)
    found = tpm.check_key(source)
    assert (found.answer, found.needs) == ("needs-password", "parent")
    assert tpm.check_key(source, Auth(parent=b"parent")).usable
    with pytest.raises(ConsoleError, match="0x81000005 has a password") as caught:
        tpm.persist(pem, 0x81000010)
    assert caught.value.needs == "parent"
    spent = tries(tpm)
    wrong = tpm.check_key(source, Auth(parent=b"wrong"))
    assert (wrong.answer, wrong.needs) == ("wrong-password", "parent")
    assert "0x81000005, and counted this" in wrong.reason
    assert tries(tpm) == spent + 1 == 2
    assert tpm.check_key(source, Auth(parent=b"x", spend_last_attempt=False)).answer == "last-try"
    assert tries(tpm) == 2
    tpm.persist(pem, 0x81000010, Auth(parent=b"parent"))
    assert tpm.check_key(KeyRef(handle=0x81000010)).usable
    assert tpm.health().transient.used == 0


def test_fifty_keys_under_a_protected_parent_never_lock_the_tpm(
    alone: SwtpmAlone, client: Callable[..., Tpm], parent: int
) -> None:
    tpm = client(alone.ensure)
    key = keyfile.parse(tpm.create(Algorithm.EC_P256))
    pem = replace(key, parent=parent).to_pem()
    tpm.persistent_keys()
    assert tries(tpm) == 0
    for _ in range(50):
        assert answer(tpm, pem) == "needs-password"
    assert tries(tpm) == 1
    # A new worker has not seen the refusal; it still does not use up the last attempt.
    for expected in (2, 2):
        assert answer(client(alone.ensure), pem) == "needs-password"
        assert tries(tpm) == expected
