"""Every lie about where a key is: who finds it out, the CA or the TPM, and before what."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.chips import (
    NEVER_OUTSIDE,
    Authority,
    Chip,
    area_of,
    bus_of,
    endorsement_certificate,
    own_maker,
    pretending,
    relabelled,
    software_request,
)
from support.pki import ec_key
from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE,
    TPMT_PUBLIC,
    TSS2_Exception,
)

from tpmconsole.board.attestation import challenge, check, seal, verify
from tpmconsole.board.certificates import judge_certificate
from tpmconsole.board.enrolment import answer_challenge, attest_request
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.enrol import sealing
from tpmconsole.enrol.files import AttestedRequest, Envelope, read_attested, read_sealed
from tpmconsole.errors import ConsoleError
from tpmconsole.system.files import read_bounded
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.model import Algorithm, KeyRef, SoftwareKey
from tpmconsole.x509.names import key_fingerprint
from tpmconsole.x509.request_spec import RequestSpec

Seen = Callable[[str], None]
More = dict[str, Any]
SIGNS = public_area.SIGN | public_area.USER_WITH_AUTH | public_area.NO_DA


def refused(
    seen: Seen, authority: Authority, attested: AttestedRequest, by: str, **more: str
) -> None:
    """The CA finds it out by one verdict, and gives nothing."""
    evidence = authority.evidence(attested, more or None)
    judgement = check(evidence)
    failed = [one.name for one in judgement.verdicts if one.state == "fail"]
    assert failed == [by]
    assert not judgement.acceptable
    with pytest.raises(ConsoleError, match="Request refused"):
        seal(evidence, [authority.certificate(attested)], authority.folder / "sealed")
    assert not (authority.folder / "sealed").exists()
    seen(f"CA: {by}")


def sealed_for(authority: Authority, attested: AttestedRequest) -> bytes:
    """What the CA gives: it has found nothing."""
    out = authority.folder / "sealed"
    seal(authority.evidence(attested), [authority.certificate(attested)], out)
    return out.read_bytes()


def opened(chip: Chip, name: str, data: bytes) -> int | None:
    """The response code with which the TPM refuses, or None; anything but a refusal fails."""
    with pytest.raises(ConsoleError, match="Sealed for another") as caught:
        judge_certificate(chip.board, name, [data], None, None)
    assert chip.board.status().mode == "operational"  # whatever it answered, it still works
    return caught.value.response_code


@pytest.mark.lies("none: an honest board", "nobody")
def test_the_truth(chip: Chip, authority: Authority, seen: Seen) -> None:
    sealed = sealed_for(authority, chip.attested("honest"))
    judgement = judge_certificate(chip.board, "honest", [sealed], authority.root, None)
    assert judgement.verdicts[0].name == "sealed"
    assert judgement.acceptable
    seen("certificate opened")


# The key was never in a TPM


@pytest.mark.lies("a software key says so itself", "CA")
def test_a_software_key(chip: Chip, authority: Authority, seen: Seen) -> None:
    key = ec_key()
    area = area_of(key.public_key(), SIGNS)
    lie = replace(chip.attested("honest"), request=software_request(key), area=area)
    refused(seen, authority, lie, "attributes")


@pytest.mark.lies("a software key with fixedTPM written in, public part loaded", "TPM, opening it")
def test_a_software_key_with_fixed_tpm_written_in(
    chip: Chip, authority: Authority, seen: Seen
) -> None:
    key = ec_key()
    area = area_of(key.public_key(), SIGNS | NEVER_OUTSIDE)
    lie = replace(chip.attested("honest"), request=software_request(key), area=area)
    envelope = read_sealed(sealed_for(authority, lie)).envelope
    assert envelope.name == area.name
    rc = activate_external(chip, area.encoded, envelope)
    assert rc == 0x12F
    seen(f"TPM 0x{rc:x}: auth unavailable")


@pytest.mark.lies("the same with its private part", "TPM, loading it")
def test_a_software_key_with_its_private_part(chip: Chip, seen: Seen) -> None:
    key = ec_key()
    area = area_of(key.public_key(), SIGNS | NEVER_OUTSIDE)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    private = TPM2B_SENSITIVE.from_pem(pem)
    with (
        bus_of(chip.board) as tcti,
        ESAPI(tcti) as esapi,
        pytest.raises(TSS2_Exception) as caught,
    ):
        esapi.load_external(_public(area.encoded), private)
    assert int(caught.value.rc) == 0x2C2
    seen("TPM 0x2c2: inconsistent attributes")


def _public(encoded: bytes) -> TPM2B_PUBLIC:
    return TPM2B_PUBLIC(publicArea=TPMT_PUBLIC.unmarshal(encoded)[0])


def activate_external(chip: Chip, encoded: bytes, envelope: Envelope) -> int:
    """TPM2_ActivateCredential with a public key that was loaded from outside; the TPM's answer."""
    from tpm2_pytss import TPM2B_ENCRYPTED_SECRET, TPM2B_ID_OBJECT
    from tpm2_pytss.utils import NVReadEK, create_ek_template

    with bus_of(chip.board) as tcti, ESAPI(tcti) as esapi:
        key = esapi.load_external(_public(encoded))
        # The certificate that was sealed for is the first: RSA; the other needs no policy session.
        _, template = create_ek_template("EK-RSA2048", NVReadEK(esapi))
        endorsement = esapi.create_primary(None, template, ESYS_TR.ENDORSEMENT)[0]
        session = _policy_session(esapi)
        blob = TPM2B_ID_OBJECT.unmarshal(envelope.credential.blob)[0]
        secret = TPM2B_ENCRYPTED_SECRET.unmarshal(envelope.credential.secret)[0]
        try:
            esapi.activate_credential(
                key, endorsement, blob, secret, session1=ESYS_TR.PASSWORD, session2=session
            )
        except TSS2_Exception as error:
            return int(error.rc)
        finally:
            for handle in (key, endorsement, session):
                esapi.flush_context(handle)
    raise AssertionError("opened")


def _policy_session(esapi: ESAPI) -> ESYS_TR:
    from tpm2_pytss import TPM2_ALG, TPM2_SE, TPM2B_DIGEST, TPM2B_NONCE, TPMT_SYM_DEF

    none = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)
    session = esapi.start_auth_session(
        ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.POLICY, none, TPM2_ALG.SHA256
    )
    nonce, empty = TPM2B_NONCE(), TPM2B_DIGEST()
    esapi.policy_secret(ESYS_TR.ENDORSEMENT, session, nonce, empty, TPM2B_NONCE(), 0)
    return session


POLICIES: dict[str, More] = {
    "a key that others use by a policy": {"policy": bytes(32)},
    "a key whose Name can be forged (SHA-1)": {"name_hash": 0x0004},
    "a key that its policy's owner can exchange (adminWithPolicy)": {},
}


@pytest.mark.parametrize("lie", POLICIES)
@pytest.mark.lies("{lie}", "CA")
def test_a_key_that_is_not_the_board_s_alone(
    chip: Chip, authority: Authority, seen: Seen, lie: str
) -> None:
    key, attributes = ec_key(), SIGNS | NEVER_OUTSIDE
    if not POLICIES[lie]:
        attributes |= 1 << 7
    area = area_of(key.public_key(), attributes, **POLICIES[lie])
    told = replace(chip.attested("honest"), request=software_request(key), area=area)
    refused(seen, authority, told, "policy")


# The key is in a TPM, but was outside before


@pytest.fixture
def imported(chip: Chip) -> str:
    """An identity whose key existed outside the TPM; its request."""
    name = "imported"
    if name not in chip.board.identities.names():
        key = ec_key()
        pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        create_key(chip.board, name, SoftwareKey(Path("/x"), Algorithm.EC_P256, pkcs8))
        make_request(chip.board, name, RequestSpec(f"CN={name}", (), "client"))
    return name


def _imported_area(chip: Chip, name: str) -> public_area.PublicArea:
    return chip.board.tpm.read_public(KeyRef(pem=chip.board.identities.get(name).key_pem))


def _request(chip: Chip, name: str) -> x509.CertificateSigningRequest:
    return x509.load_pem_x509_csr(read_bounded(chip.board.identities.get(name).request, 65536))


@pytest.mark.lies("an imported key", "the board itself, and CA")
def test_an_imported_key(chip: Chip, imported: str, authority: Authority, seen: Seen) -> None:
    with pytest.raises(ConsoleError, match="Key cannot be attested"):
        attest_request(chip.board, imported)
    lie = replace(
        chip.attested("honest"),
        request=_request(chip, imported),
        area=_imported_area(chip, imported),
    )
    refused(seen, authority, lie, "attributes")


@pytest.mark.lies("an imported key with fixedTPM written in", "TPM, opening it")
def test_an_imported_key_with_fixed_tpm_written_in(
    chip: Chip, imported: str, authority: Authority, seen: Seen
) -> None:
    area = pretending(_imported_area(chip, imported), NEVER_OUTSIDE)
    lie = replace(chip.attested("honest"), request=_request(chip, imported), area=area)
    sealed = read_sealed(sealed_for(authority, lie))
    assert opened(chip, imported, sealed.to_pem()) is None  # for another key, by its own word
    really = _imported_area(chip, imported).name
    rc = opened(chip, imported, relabelled(sealed, name=really))
    assert rc == 0x1DF
    seen(f"TPM 0x{rc:x}: integrity")


# The right key for another recipient


@pytest.mark.lies("another key of the same TPM", "TPM, opening it")
def test_another_key_of_the_same_tpm(chip: Chip, authority: Authority, seen: Seen) -> None:
    sealed = read_sealed(sealed_for(authority, chip.attested("honest")))
    name = chip.identity("neighbour")
    assert opened(chip, name, sealed.to_pem()) is None
    own = chip.attested(name).area.name
    rc = opened(chip, name, relabelled(sealed, name=own))
    assert rc == 0x1DF
    seen(f"TPM 0x{rc:x}: integrity")


@pytest.mark.lies("another TPM of the same maker", "TPM, opening it")
def test_another_tpm(chip: Chip, other_chip: Chip, authority: Authority, seen: Seen) -> None:
    sealed = read_sealed(sealed_for(authority, chip.attested("honest")))
    own = other_chip.attested("liar")
    labels = {
        "name": own.area.name,
        "endorsement": bytes.fromhex(key_fingerprint(own.certificates[0].public_key())),
    }
    assert opened(other_chip, "liar", relabelled(sealed, name=own.area.name)) is None
    rc = opened(other_chip, "liar", relabelled(sealed, **labels))
    assert rc is not None
    assert rc in (0x101, 0x1DF) or rc & 0xBF == 0x84  # swtpm 0.7; later ones
    seen(f"TPM 0x{rc:x}, and is well")


@pytest.mark.lies("a genuine chip that is not in the inventory", "CA")
def test_a_chip_that_nobody_knows(
    chip: Chip, other_chip: Chip, authority: Authority, seen: Seen
) -> None:
    known = key_fingerprint(chip.attested("honest").certificates[0].public_key())
    refused(seen, authority, other_chip.attested("liar"), "inventory", **{known: "honest"})


@pytest.mark.lies("the name of another board", "CA")
def test_another_board_s_name(chip: Chip, authority: Authority, seen: Seen) -> None:
    attested = chip.attested("honest")
    known = key_fingerprint(attested.certificates[0].public_key())
    refused(seen, authority, attested, "name", **{known: "neighbour"})


@pytest.mark.lies("its own name, and the alternative name of another board", "CA")
def test_another_board_s_alternative_name(chip: Chip, authority: Authority, seen: Seen) -> None:
    name = chip.identity("greedy")
    spec = RequestSpec(f"CN={name}", (f"dns:{name}", "dns:honest"), "client")
    make_request(chip.board, name, spec)
    attested = chip.attested(name)
    known = key_fingerprint(attested.certificates[0].public_key())
    refused(seen, authority, attested, "name", **{known: name})


# Not a genuine chip


@pytest.mark.lies("a chip of a maker that nobody trusts", "CA")
def test_an_unknown_maker(chip: Chip, authority: Authority, seen: Seen) -> None:
    key, root = own_maker()
    fake = endorsement_certificate(ec_key().public_key(), key, root.subject)
    lie = replace(chip.attested("honest"), certificates=(fake,), chain=(root,))
    refused(seen, authority, lie, "endorsement")


@pytest.mark.lies("a maker with a trusted maker's name", "CA")
def test_a_maker_s_name_on_another_key(chip: Chip, authority: Authority, seen: Seen) -> None:
    attested = chip.attested("honest")
    key, root = own_maker()
    fake = endorsement_certificate(ec_key().public_key(), key, attested.certificates[0].issuer)
    lie = replace(attested, certificates=(fake,), chain=(root,))
    refused(seen, authority, lie, "endorsement")


@pytest.mark.lies("a software chip's certificate before the genuine one", "TPM, opening it")
def test_a_fake_certificate_before_the_genuine_one(
    chip: Chip, authority: Authority, seen: Seen
) -> None:
    key = ec_key()
    attested = chip.attested("honest")
    maker, root = own_maker()
    fake = endorsement_certificate(ec_key().public_key(), maker, root.subject)
    lie = AttestedRequest(
        software_request(key),
        area_of(key.public_key(), SIGNS | NEVER_OUTSIDE),
        (fake, *attested.certificates),
        (root,),
    )
    envelope = read_sealed(sealed_for(authority, lie)).envelope
    genuine = [key_fingerprint(one.public_key()) for one in attested.certificates]
    assert envelope.endorsement.hex() in genuine
    seen("CA seals for the genuine chip; without its key, nothing can be opened")


@pytest.mark.lies("another certificate below the maker's root", "CA")
def test_a_certificate_that_is_for_no_chip(chip: Chip, authority: Authority, seen: Seen) -> None:
    key, root = own_maker("trusted maker")
    authority.makers = authority.file(root.public_bytes(Encoding.PEM))
    client = x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH
    other = endorsement_certificate(ec_key().public_key(), key, root.subject, use=client)
    refused(seen, authority, replace(chip.attested("honest"), certificates=(other,)), "endorsement")


# What travels was changed


@pytest.mark.lies("a request that was changed after it was signed", "CA")
def test_an_altered_request(chip: Chip, authority: Authority, seen: Seen) -> None:
    attested = chip.attested("honest")
    der = attested.request.public_bytes(Encoding.DER)
    assert b"honest" in der
    altered = x509.load_der_x509_csr(der.replace(b"honest", b"master"))
    refused(seen, authority, replace(attested, request=altered), "request")


@pytest.mark.lies("a software key's request with a TPM key's public area", "CA")
def test_a_request_for_another_key(chip: Chip, authority: Authority, seen: Seen) -> None:
    lie = replace(chip.attested("honest"), request=software_request(ec_key()))
    refused(seen, authority, lie, "key")


@pytest.mark.lies("a sealed certificate that was changed on its way", "the board")
def test_an_altered_sealed_file(chip: Chip, authority: Authority, seen: Seen) -> None:
    sealed = read_sealed(sealed_for(authority, chip.attested("honest")))
    changed = replace(sealed, encrypted=sealed.encrypted[:-1] + bytes([sealed.encrypted[-1] ^ 1]))
    with pytest.raises(ConsoleError, match="Sealed file damaged"):
        judge_certificate(chip.board, "honest", [changed.to_pem()], None, None)
    seen("Sealed file damaged")


# A challenge


def asked(authority: Authority, attested: AttestedRequest, number: int = 1) -> tuple[Path, Path]:
    out, keep = (authority.folder / f"{name}-{number}" for name in ("challenge", "expected"))
    challenge(authority.evidence(attested), out, keep)
    return out, keep


@pytest.mark.lies("an answer that was given to an earlier challenge", "CA")
def test_a_replayed_answer(chip: Chip, authority: Authority, seen: Seen) -> None:
    attested = chip.attested("honest")
    request = authority.file(attested.to_pem())
    first, kept = asked(authority, attested)
    answer = authority.file(answer_challenge(chip.board, "honest", first.read_bytes()))
    _, kept_next = asked(authority, attested, 2)
    assert verify(request, answer, kept_next).state == "fail"
    assert verify(request, answer, kept).state == "ok"
    with pytest.raises(ConsoleError, match="No challenge"):
        verify(request, answer, kept)
    seen("CA: another challenge's, or answered already")


@pytest.mark.lies("the answer of another board", "TPM; and CA")
def test_another_board_s_answer(
    chip: Chip, other_chip: Chip, authority: Authority, seen: Seen
) -> None:
    attested = chip.attested("honest")
    question, kept = asked(authority, attested)
    other_chip.identity("liar")
    with pytest.raises(ConsoleError, match="Sealed for another"):
        answer_challenge(other_chip.board, "liar", question.read_bytes())
    theirs, _ = asked(authority, other_chip.attested("liar"), 2)
    answer = authority.file(answer_challenge(other_chip.board, "liar", theirs.read_bytes()))
    assert verify(authority.file(attested.to_pem()), answer, kept).state == "fail"
    seen("CA: not the answer to this challenge")


@pytest.mark.lies("a guessed answer", "CA")
def test_a_guessed_answer(chip: Chip, authority: Authority, seen: Seen) -> None:
    attested = chip.attested("honest")
    _, kept = asked(authority, attested)
    guess = sealing.answer(attested.digest, _no_envelope(), lambda _: os.urandom(32))
    found = verify(authority.file(attested.to_pem()), authority.file(guess.to_pem()), kept)
    assert found.state == "fail"
    assert kept.exists()
    seen("CA: not the answer to this challenge")


def _no_envelope() -> Envelope:
    from tpmconsole.enrol.credential import Credential

    return Envelope(b"", bytes(32), Credential(b"", b""))


def test_what_was_read_is_what_was_written(chip: Chip) -> None:
    attested = chip.attested("honest")
    assert read_attested(attested.to_pem()) == attested
