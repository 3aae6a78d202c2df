"""Keys kept inside the TPM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    load_pem_public_key,
)
from support.key_answers import HANDLE, REQUEST
from support.swtpm import SwtpmAlone
from tpm2_pytss import ESAPI, ESYS_TR, TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE
from tpm2_pytss.tsskey import TSSPrivKey

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.keys import private_key
from tpmconsole.tpm.model import Algorithm, KeyRef, PersistentKey


def at(handle: int, tpm: Tpm) -> list[PersistentKey]:
    """What is listed at a handle; tests of sessions have keys of their own in the shared TPM."""
    return [key for key in tpm.persistent_keys() if int(key.handle, 16) == handle]


def test_persists_lists_uses_and_evicts(shared_tpm: Tpm, made: dict[Algorithm, bytes]) -> None:
    for algorithm, pem in made.items():
        shared_tpm.persist(pem, HANDLE)
        source = KeyRef(handle=HANDLE)
        try:
            (listed,) = at(HANDLE, shared_tpm)
            assert listed.algorithm == keyfile.parse(pem).algorithm
            assert listed.purpose == (
                "signing and decryption key" if "rsa" in algorithm else "signing key"
            )
            assert (listed.auth, listed.counts_towards_lockout) == (None, False)
            public = (listed.public_pem or "").encode()
            assert load_pem_public_key(public) == keyfile.parse(pem).public_key()
            assert listed.name == keyfile.parse(pem).area.name.hex()
            # The list, the handle and the file give the same bytes.
            assert public == shared_tpm.public_pem(source) == shared_tpm.public_pem(KeyRef(pem))
            assert shared_tpm.check_key(source).usable
            assert REQUEST.sign(private_key(shared_tpm, source), hashes.SHA256()).is_signature_valid
        finally:
            shared_tpm.evict(HANDLE)
    assert at(HANDLE, shared_tpm) == []


def test_a_handle_in_use_is_refused_and_unchanged(
    shared_tpm: Tpm, made: dict[Algorithm, bytes]
) -> None:
    shared_tpm.persist(made[Algorithm.EC_P256], HANDLE)
    try:
        before = shared_tpm.persistent_keys()
        with pytest.raises(ConsoleError, match="another key at 0x81000010") as caught:
            shared_tpm.persist(made[Algorithm.EC_P384], HANDLE)
        assert (caught.value.title, caught.value.exit_code) == ("Handle in use", ExitCode.REFUSED)
        assert shared_tpm.persistent_keys() == before
    finally:
        shared_tpm.evict(HANDLE)


@pytest.mark.parametrize(
    ("handle", "title"),
    [
        (0x80000001, "Not a persistent handle"),
        (0x01000000, "Not a persistent handle"),
        (0x40000001, "Not a persistent handle"),
        (0x1_81000010, "Not a persistent handle"),
        (-1, "Not a persistent handle"),
        (0x81800000, "Handle reserved"),
        (0x81FFFFFF, "Handle reserved"),
        (0x81000001, "Handle reserved"),
        (0x81010001, "Handle reserved"),
    ],
)
def test_handles_that_are_no_good_are_refused_before_the_tpm_is_asked(
    shared_tpm: Tpm, made: dict[Algorithm, bytes], handle: int, title: str
) -> None:
    with pytest.raises(ConsoleError) as caught:
        shared_tpm.persist(made[Algorithm.EC_P256], handle)
    assert (caught.value.title, caught.value.exit_code) == (title, ExitCode.USAGE)


def test_a_key_of_the_null_hierarchy_cannot_be_kept(
    shared_tpm: Tpm, made: dict[Algorithm, bytes]
) -> None:
    pem = replace(keyfile.parse(made[Algorithm.EC_P256]), parent=0x40000007).to_pem()
    with pytest.raises(ConsoleError, match="Key not for a handle"):
        shared_tpm.persist(pem, HANDLE)


def test_nothing_at_a_handle_is_told(shared_tpm: Tpm) -> None:
    source = KeyRef(handle=HANDLE)
    for call in (
        lambda: shared_tpm.evict(HANDLE),
        lambda: shared_tpm.public_pem(source),
        lambda: shared_tpm.check_key(source),
        lambda: shared_tpm.sign(source, b"d" * 32, "sha256", "ecdsa"),
    ):
        with pytest.raises(ConsoleError, match="nothing at") as caught:
            call()
        assert (caught.value.title, caught.value.exit_code) == ("No such key", ExitCode.REFUSED)


def test_a_full_tpm_says_so(alone: SwtpmAlone, client: Callable[..., Tpm]) -> None:
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256)
    with ESAPI(alone.connection.tcti) as esapi:
        key = TSSPrivKey.from_pem(pem).load(esapi)
        for number in range(tpm.health().persistent.available):
            esapi.evict_control(ESYS_TR.OWNER, key, 0x81000100 + number)
        esapi.flush_context(key)
    with pytest.raises(ConsoleError) as caught:
        tpm.persist(pem, HANDLE)
    assert caught.value.title == "No room in the TPM"
    assert len(tpm.persistent_keys()) == tpm.health().persistent.used


def test_what_a_handle_is_for(alone: SwtpmAlone, client: Callable[..., Tpm]) -> None:
    tpm = client(alone.ensure)
    with ESAPI(alone.connection.tcti) as esapi:
        for kind, attributes, handle in (
            (
                "ecc",
                "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt|noda",
                0x81000001,
            ),
            (
                "rsa2048:aes128cfb",
                "fixedtpm|fixedparent|sensitivedataorigin|adminwithpolicy|restricted|decrypt",
                0x81010001,
            ),
            (
                "ecc:ecdsa-sha256:null",
                "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign",
                0x81000002,
            ),
        ):
            template = TPM2B_PUBLIC.parse(alg=kind, objectAttributes=attributes)
            if kind.startswith("rsa"):
                template.publicArea.authPolicy = b"p" * 32
            made = esapi.create_primary(TPM2B_SENSITIVE_CREATE(), template)[0]
            esapi.evict_control(ESYS_TR.OWNER, made, handle)
            esapi.flush_context(made)
    found = {key.handle: key for key in tpm.persistent_keys()}
    assert {handle: key.purpose for handle, key in found.items()} == {
        "0x81000001": "storage root key (SRK)",
        "0x81010001": "endorsement key (EK)",
        "0x81000002": "attestation key",
    }
    assert found["0x81010001"].auth == "policy"
    assert found["0x81010001"].counts_towards_lockout
    assert not found["0x81000001"].counts_towards_lockout
    for handle in (0x81000001, 0x81000002):
        assert tpm.check_key(KeyRef(handle=handle)).answer == "cannot-sign"


def test_an_owner_password_is_asked_for_and_never_guessed(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256)
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, "owner")
    assert tpm.health().hierarchies["owner"].auth_set
    for password, title in ((None, "Password needed"), (b"wrong", "Wrong password")):
        for call in (
            lambda password: tpm.create(Algorithm.EC_P256, Auth(owner=password)),
            lambda password: tpm.persist(pem, HANDLE, Auth(owner=password)),
        ):
            with pytest.raises(ConsoleError, match="owner hierarchy") as caught:
                call(password)
            assert (caught.value.title, caught.value.exit_code) == (title, ExitCode.REFUSED)
    assert tpm.check_key(KeyRef(pem)).answer == "needs-password"
    assert tpm.check_key(KeyRef(pem), Auth(owner=b"owner")).usable
    tpm.persist(pem, HANDLE, Auth(owner=b"owner"))
    assert tpm.check_key(KeyRef(handle=HANDLE)).usable
    with pytest.raises(ConsoleError, match="owner hierarchy"):
        tpm.evict(HANDLE)
    tpm.evict(HANDLE, Auth(owner=b"owner"))
    # It was not kept from the call before.
    with pytest.raises(ConsoleError, match="owner hierarchy"):
        tpm.create(Algorithm.EC_P256)
    assert tpm.health().transient.used == 0
