"""Whether a key can be used on this TPM: each answer there is, and what asking costs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psutil
import pytest
from support.key_answers import HANDLE, answer, tries
from support.swtpm import SwtpmAlone
from tpm2_pytss import ESAPI, TPM2B_PUBLIC, TPMA_OBJECT
from tpm2_pytss.tsskey import TSSPrivKey

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, KeyKind, KeyRef


@pytest.mark.parametrize("algorithm", Algorithm)
def test_our_own_keys_are_usable(
    shared_tpm: Tpm, made: dict[Algorithm, bytes], algorithm: Algorithm
) -> None:
    assert shared_tpm.check_key(KeyRef(made[algorithm])).usable


def test_a_stolen_key_file_is_refused(
    shared_tpm: Tpm, alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    pem = client(alone.ensure).create(Algorithm.EC_P256)
    found = shared_tpm.check_key(KeyRef(pem))
    assert found.answer == "not-this-tpm"
    assert "another TPM" in found.reason
    with pytest.raises(ConsoleError) as caught:
        shared_tpm.sign(KeyRef(pem), b"d" * 32, "sha256", "ecdsa")
    assert (caught.value.title, caught.value.exit_code) == ("Key refused", ExitCode.REFUSED)


def test_a_tampered_key_file_is_refused(shared_tpm: Tpm, made: dict[Algorithm, bytes]) -> None:
    key = keyfile.parse(made[Algorithm.EC_P256])
    flipped = bytes([key.private[-1] ^ 1])
    private = replace(key, private=key.private[:-1] + flipped)
    short = replace(key, private=key.private[:-4])
    # Another key's public half, a valid one.
    public = replace(key, public=keyfile.parse(shared_tpm.create(Algorithm.EC_P256)).public)
    for broken in (private, short, public):
        assert answer(shared_tpm, broken.to_pem()) == "not-this-tpm"


def test_a_missing_parent_is_told(shared_tpm: Tpm, made: dict[Algorithm, bytes]) -> None:
    key = keyfile.parse(made[Algorithm.EC_P256])
    for parent in (0x81000077, 0x80000000):
        assert answer(shared_tpm, replace(key, parent=parent).to_pem()) == "parent-missing"


def test_passwords_wrong_missing_right_and_locked_out(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure)
    free = tpm.create(Algorithm.EC_P256)
    uncounted = tpm.create(Algorithm.EC_P256, Auth(b"right"), noda=True)
    counted = tpm.create(Algorithm.EC_P256, Auth(b"right"))

    for pem in (uncounted, counted):
        assert answer(tpm, pem) == "needs-password"
        assert answer(tpm, pem, b"right") == "yes"
    assert answer(tpm, uncounted, b"wrong") == "wrong-password"
    assert tries(tpm) == 0
    # The empty password on purpose, then a wrong one; two of three tries.
    assert answer(tpm, counted, b"") == "needs-password"
    assert answer(tpm, counted, b"wrong") == "wrong-password"
    assert tries(tpm) == 2
    last = (KeyRef(counted), b"d" * 32, "sha256", "ecdsa")
    with pytest.raises(ConsoleError, match="One attempt left"):
        tpm.sign(*last, Auth(b"right", spend_last_attempt=False))
    with pytest.raises(ConsoleError, match=r"Wrong password.*locked now"):
        tpm.sign(*last, Auth(b"wrong"))
    assert answer(tpm, counted, b"right") == "locked-out"
    assert tpm.health().lockout.locked
    # Keys that are not subject to it still work, and others can be made.
    assert answer(tpm, free) == "yes"
    assert answer(tpm, uncounted, b"right") == "yes"
    assert tpm.create(Algorithm.EC_P256, Auth(b"right"))
    assert tpm.health().transient.used == 0


def test_a_password_for_a_key_that_has_none_is_told(
    shared_tpm: Tpm, made: dict[Algorithm, bytes]
) -> None:
    found = shared_tpm.check_key(KeyRef(made[Algorithm.EC_P256]), Auth(b"superfluous"))
    assert found.answer == "wrong-password"
    assert "says that it has none" in found.reason


def test_a_key_under_a_policy_is_told(shared_tpm: Tpm, made: dict[Algorithm, bytes]) -> None:
    def policy_only(public: Any) -> None:
        public.objectAttributes &= ~TPMA_OBJECT.USERWITHAUTH
        public.authPolicy = hashlib.sha256(b"").digest()

    assert answer(shared_tpm, _foreign_key(shared_tpm, policy_only)) == "policy"


def test_a_key_that_does_not_sign_is_told(shared_tpm: Tpm) -> None:
    def decrypt_only(public: Any) -> None:
        public.objectAttributes &= ~TPMA_OBJECT.SIGN_ENCRYPT
        public.objectAttributes |= TPMA_OBJECT.DECRYPT

    assert answer(shared_tpm, _foreign_key(shared_tpm, decrypt_only)) == "cannot-sign"


def test_a_scheme_of_the_key_s_own_is_used(shared_tpm: Tpm) -> None:
    def only_sha384(public: Any) -> None:
        public.parameters.eccDetail.scheme.scheme = 0x18
        public.parameters.eccDetail.scheme.details.anySig.hashAlg = 0x0C

    assert answer(shared_tpm, _foreign_key(shared_tpm, only_sha384)) == "yes"


def test_sealed_data_is_no_key(shared_tpm: Tpm, made: dict[Algorithm, bytes]) -> None:
    key = keyfile.parse(made[Algorithm.EC_P256])
    sealed = bytes.fromhex("0008000b00000452000000100020") + bytes(32)
    pem = replace(key, kind=KeyKind.SEALED, public=sealed).to_pem()
    assert answer(shared_tpm, pem) == "cannot-sign"


def test_a_tpm_without_room_is_told(alone: SwtpmAlone, client: Callable[..., Tpm]) -> None:
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256)
    with ESAPI(alone.connection.tcti) as esapi:
        taken = [esapi.create_primary(None)[0] for _ in range(3)]
        assert answer(tpm, pem) == "no-room"
        for handle in taken:
            esapi.flush_context(handle)
    assert answer(tpm, pem) == "yes"


def test_a_damaged_file_is_an_error_of_the_file(
    shared_tpm: Tpm, made: dict[Algorithm, bytes]
) -> None:
    with pytest.raises(ConsoleError, match="Key file damaged"):
        shared_tpm.check_key(KeyRef(made[Algorithm.EC_P256].replace(b"MIH", b"MIX", 1)))


def _foreign_key(tpm: Tpm, change: Callable[[Any], None]) -> bytes:
    """A key file whose template was changed, made by tpm2-pytss on the shared simulator's TPM."""
    from tpm2_pytss.tsskey import _ecc_template

    template = TPM2B_PUBLIC.unmarshal(TPM2B_PUBLIC(publicArea=_ecc_template).marshal())[0]
    template.publicArea.parameters.eccDetail.curveID = 3
    change(template.publicArea)
    connection = tpm.connection
    with pytest.MonkeyPatch.context() as patch:
        for name, value in connection.environment.items():
            patch.setenv(name, value)
        with ESAPI(connection.tcti) as esapi:
            return TSSPrivKey.create(esapi, template.publicArea).to_pem()


# Sparing tries, leaving nothing behind


def test_two_hundred_rounds_leave_nothing_behind(
    alone: SwtpmAlone, client: Callable[..., Tpm], shared_tpm: Tpm
) -> None:
    tpm = client(alone.ensure)
    good, protected = (
        tpm.create(Algorithm.EC_P256),
        tpm.create(Algorithm.EC_P256, Auth(b"a"), noda=True),
    )
    stolen = shared_tpm.create(Algorithm.EC_P256)
    worker = tpm.worker_pid
    before = _held(worker)
    for number in range(200):
        made = tpm.create(Algorithm.EC_P256)
        assert answer(tpm, made) == "yes"
        assert answer(tpm, protected, b"wrong") == "wrong-password"
        assert answer(tpm, stolen) == "not-this-tpm"
        if number % 20 == 0:
            tpm.persist(good, HANDLE)
            assert tpm.check_key(KeyRef(handle=HANDLE)).usable
            tpm.evict(HANDLE)
    assert tpm.worker_pid == worker
    assert _held(worker) == before
    health = tpm.health()
    assert (health.transient.used, health.persistent.used) == (0, 0)
    # The one session that passwords are used in, until the worker rests or ends.
    assert _sessions(alone) == 1
    tpm.close()
    assert _sessions(alone) == 0


def _sessions(swtpm: SwtpmAlone) -> int:
    with ESAPI(swtpm.connection.tcti) as esapi:
        found = [esapi.get_capability(1, first, 10)[1] for first in (0x02000000, 0x03000000)]
        return sum(one.data.handles.count for one in found)


def _held(worker: int) -> tuple[int, ...]:
    """File descriptors and children, ours and the worker's."""
    ours, its = psutil.Process(), psutil.Process(worker)
    return ours.num_fds(), its.num_fds(), len(ours.children(recursive=True)), len(its.children())
