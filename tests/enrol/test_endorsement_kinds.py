"""Every kind of endorsement key, in a TPM without a resource manager, which has three places."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from faults.proxy import PassOn, Proxy
from support.chips import endorsement_certificate, own_maker
from support.swtpm import SwtpmAlone
from tpm2_pytss import ESAPI, ESYS_TR, TPM2_ALG, TPM2B_NV_PUBLIC, TPMA_NV, TPMS_NV_PUBLIC
from tpm2_pytss.utils import NoSuchIndex, create_ek_template

from tpmconsole.enrol.credential import Credential, can_be_sealed_to, make_credential
from tpmconsole.errors import ConsoleError
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef
from tpmconsole.tpm.worker.jobs import capability

KINDS = {
    0x01C00002: "EK-RSA2048",
    0x01C0000A: "EK-ECC256",
    0x01C00012: "EK-HIGH-RSA2048",
    0x01C00014: "EK-HIGH-ECC256",
    0x01C00016: "EK-HIGH-ECC384",
    0x01C00018: "EK-HIGH-ECC521",
    0x01C0001C: "EK-HIGH-RSA3072",
}
_READABLE = TPMA_NV.OWNERWRITE | TPMA_NV.OWNERREAD | TPMA_NV.AUTHREAD | TPMA_NV.NO_DA


@pytest.fixture
def tpm(alone: SwtpmAlone, tmp_path: Path) -> Iterator[Tpm]:
    one = Tpm(alone.ensure, tmp_path / "log")
    yield one
    one.close()


def keep(alone: SwtpmAlone, index: int, data: bytes) -> None:
    """Put something at an NV index, as a maker does."""
    area = TPMS_NV_PUBLIC(
        nvIndex=index, nameAlg=TPM2_ALG.SHA256, attributes=_READABLE, dataSize=len(data)
    )
    with ESAPI(alone.connection.tcti) as esapi:
        handle = esapi.nv_define_space(None, TPM2B_NV_PUBLIC(nvPublic=area), ESYS_TR.OWNER)
        for at in range(0, len(data), 512):
            esapi.nv_write(handle, data[at : at + 512], at, auth_handle=ESYS_TR.OWNER)


def certify(alone: SwtpmAlone, index: int, at: int | None = None) -> None:
    """What a maker does with a chip before it sells it.

    Args:
        at: also leave the key at this handle.
    """

    def nothing(at: int) -> bytes:
        if at == index:
            return b""
        raise NoSuchIndex(at)

    _, template = create_ek_template(KINDS[index], nothing)
    with ESAPI(alone.connection.tcti) as esapi:
        handle, public, *_ = esapi.create_primary(None, template, ESYS_TR.ENDORSEMENT)
        if at is not None:
            esapi.evict_control(ESYS_TR.OWNER, handle, at)
        esapi.flush_context(handle)
    key, root = own_maker()
    made = endorsement_certificate(load_pem_public_key(public.to_pem()), key, root.subject)
    # Some makers fill an index up behind the certificate.
    keep(alone, index, made.public_bytes(Encoding.DER) + bytes(20))


@pytest.mark.parametrize("index", KINDS)
@pytest.mark.parametrize("password", [None, b"secret"])
def test_what_is_sealed_for_it_is_opened(
    alone: SwtpmAlone, tpm: Tpm, index: int, password: bytes | None
) -> None:
    from cryptography.x509 import load_der_x509_certificate

    certify(alone, index)
    [found] = tpm.endorsement(prove=True).certificates
    assert (found.index, found.problem) == (index, "")
    endorsement = load_der_x509_certificate(found.der).public_key()
    assert can_be_sealed_to(endorsement)
    pem = tpm.create(Algorithm.EC_P256, Auth(password))
    secret = os.urandom(32)
    sealed = make_credential(endorsement, keyfile.parse(pem).area.name, secret)  # type: ignore[arg-type]
    assert opened(tpm, pem, index, sealed, Auth(password)) == secret
    if password:
        with pytest.raises(ConsoleError) as caught:
            opened(tpm, pem, index, sealed, Auth(b"wrong"))
        assert caught.value.needs == "key"
    assert nothing_loaded(alone)


def opened(tpm: Tpm, pem: bytes, index: int, sealed: Credential, auth: Auth = Auth()) -> bytes:  # noqa: B008
    return tpm.activate(KeyRef(pem), index, sealed.blob, sealed.secret, auth)


def nothing_loaded(alone: SwtpmAlone) -> bool:
    with ESAPI(alone.connection.tcti) as esapi:
        objects = capability.handles(esapi, 0x80000000)
        sessions = capability.handles(esapi, 0x02000000)
        # The one that passwords are used in stays; a policy session's handle begins with 03.
        return not objects and [one >> 24 for one in sessions] == [2]


@pytest.mark.parametrize("index", [0x01C00002, 0x01C00016])
def test_an_endorsement_password(alone: SwtpmAlone, tpm: Tpm, index: int) -> None:
    """It is asked for by its own name, and no attempt is used up."""
    certify(alone, index)
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.ENDORSEMENT, b"endorser")
    assert tpm.endorsement(prove=False).certificates  # without a password
    for auth in (Auth(), Auth(endorsement=b"wrong")):
        with pytest.raises(ConsoleError) as caught:
            tpm.endorsement(auth, prove=True)
        assert caught.value.needs == "endorsement"
        assert "endorsement" in caught.value.cause
    auth = Auth(endorsement=b"endorser")
    [found] = tpm.endorsement(auth, prove=True).certificates
    assert not found.problem
    from cryptography.x509 import load_der_x509_certificate

    key = load_der_x509_certificate(found.der).public_key()
    pem = tpm.create(Algorithm.EC_P256)
    sealed = make_credential(key, keyfile.parse(pem).area.name, b"s" * 32)  # type: ignore[arg-type]
    with pytest.raises(ConsoleError) as caught:
        opened(tpm, pem, index, sealed)
    assert caught.value.needs == "endorsement"
    assert opened(tpm, pem, index, sealed, auth) == b"s" * 32
    assert nothing_loaded(alone)


def test_a_key_that_is_at_a_handle_is_not_made_again(alone: SwtpmAlone, tpm: Tpm) -> None:
    """Making one takes the endorsement password, and a slow chip many seconds."""
    from cryptography.x509 import load_der_x509_certificate

    index = 0x01C00016
    certify(alone, index, at=0x81010016)
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.ENDORSEMENT, b"endorser")
    [found] = tpm.endorsement(prove=True).certificates
    assert not found.problem
    key = load_der_x509_certificate(found.der).public_key()
    pem = tpm.create(Algorithm.EC_P256)
    sealed = make_credential(key, keyfile.parse(pem).area.name, b"s" * 32)  # type: ignore[arg-type]
    assert opened(tpm, pem, index, sealed) == b"s" * 32


@pytest.mark.parametrize("index", [0x01C00002, 0x01C00016])
@pytest.mark.attacks("a reader of the bus: what a CA sealed, and the passwords", "not in any byte")
def test_nothing_secret_crosses_the_bus(alone: SwtpmAlone, tmp_path: Path, index: int) -> None:
    """With a password on the key and both hierarchies; the key in a file, and at a handle."""
    from cryptography.x509 import load_der_x509_certificate

    certify(alone, index)
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.ENDORSEMENT, b"eNd-7f3a9")
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, b"oWn-7f3a9")
    seen = bytearray()

    def read(command: bytes, pass_on: PassOn) -> bytes:
        response = pass_on(command)
        seen.extend(command + response)
        return response

    proxy = Proxy(alone.folder / "between", alone.folder / "sock")
    proxy.spoil(read)
    tpm = Tpm(lambda: Connection(proxy.tcti, "the test's own"), tmp_path / "log")
    try:
        auth = Auth(b"kEy-7f3a9", owner=b"oWn-7f3a9", endorsement=b"eNd-7f3a9")
        [found] = tpm.endorsement(auth, prove=True).certificates
        assert not found.problem
        key = load_der_x509_certificate(found.der).public_key()
        pem = tpm.create(Algorithm.EC_P256, auth)
        tpm.persist(pem, 0x81000020, auth)
        secret = os.urandom(32)
        name = keyfile.parse(pem).area.name
        for ref in (KeyRef(pem), KeyRef(handle=0x81000020)):
            sealed = make_credential(key, name, secret)  # type: ignore[arg-type]
            assert tpm.activate(ref, index, sealed.blob, sealed.secret, auth) == secret
    finally:
        tpm.close()
        proxy.close()
    for one in (secret, b"kEy-7f3a9", b"oWn-7f3a9", b"eNd-7f3a9"):
        assert one not in seen
    assert name in seen  # it was read


def test_a_certificate_of_another_chip(alone: SwtpmAlone, tpm: Tpm) -> None:
    certify(alone, 0x01C0000A)
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.change_eps(ESYS_TR.PLATFORM)
    [found] = tpm.endorsement(prove=True).certificates
    assert "another" in found.problem


def test_what_is_no_certificate_ends_no_list(alone: SwtpmAlone, tpm: Tpm) -> None:
    keep(alone, 0x01C00002, b"\x30\x82\x00\x10 no certificate ")
    certify(alone, 0x01C0000A)
    _, root = own_maker()
    der = root.public_bytes(Encoding.DER)
    # A chain that continues in the next index, followed by random bytes.
    keep(alone, 0x01C00100, der + der[:100])
    keep(alone, 0x01C00101, der[100:] + b"\xff" * 8)
    found = tpm.endorsement(prove=True)
    assert [bool(one.problem) for one in found.certificates] == [True, False]
    assert found.chain == (der, der)


def test_a_chip_without_certificates(tpm: Tpm) -> None:
    found = tpm.endorsement(prove=True)
    assert not found.certificates
    assert not found.chain
