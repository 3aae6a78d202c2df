"""Endorsement certificates: which chips a CA accepts as genuine."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from support.chips import endorsement_certificate, own_maker, turned_over, unsorted_name
from support.pki import NOW, ec_key

from tpmconsole.system.der_order import with_sorted_sets
from tpmconsole.x509.as_signed import read_certificate, written
from tpmconsole.x509.attestation import chip_of, judge_endorsement

KEY = ec_key().public_key()


def problem(
    certificate: x509.Certificate,
    chain: list[x509.Certificate],
    makers: list[x509.Certificate],
) -> str:
    found = judge_endorsement(certificate, chain, makers, datetime.now(UTC)).problem
    if found is None:
        return ""
    assert found.remedy
    return found.text


def test_a_chip_in_its_maker_s_words() -> None:
    key, root = own_maker()
    chip = chip_of(endorsement_certificate(KEY, key, root.subject))
    assert (chip.manufacturer, chip.model, chip.version) == ("IFX", "SLB9672", "id:000F0017")


def intermediate(
    key: ec.EllipticCurvePrivateKey, root: x509.Certificate, **change: Any
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    own = ec_key()
    constraints = x509.BasicConstraints(ca=change.get("ca", True), path_length=change.get("path"))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(change.get("name", "CN=intermediate")))
        .issuer_name(root.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(change.get("end", NOW + timedelta(days=9)))
        .add_extension(constraints, critical=True)
    )
    return own, builder.sign(key, change.get("hash", hashes.SHA256()))


def test_by_its_root_or_by_an_intermediate() -> None:
    key, root = own_maker()
    own, middle = intermediate(key, root)
    chip = endorsement_certificate(KEY, own, middle.subject)
    assert problem(chip, [middle], [root]) == ""
    assert problem(chip, [], [middle]) == ""  # which the operator may have got alone
    assert "not named" in problem(chip, [], [root])


def test_an_intermediate_that_is_missing_is_named_with_where_it_is() -> None:
    key, root = own_maker()
    own, middle = intermediate(key, root)

    def with_address(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        where = x509.UniformResourceIdentifier("http://maker.example/ca.cer")
        issuers = x509.oid.AuthorityInformationAccessOID.CA_ISSUERS
        access = x509.AuthorityInformationAccess([x509.AccessDescription(issuers, where)])
        return builder.add_extension(access, critical=False)

    chip = endorsement_certificate(KEY, own, middle.subject, change=with_address)
    found = judge_endorsement(chip, [], [root], NOW).problem
    assert found is not None
    assert "CN=intermediate" in found.text
    assert "http://maker.example/ca.cer" in found.remedy


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ca": False}, "must not vouch"),
        ({"end": NOW - timedelta(hours=1)}, "is valid from"),
    ],
)
def test_an_intermediate_that_is_no_good(change: dict[str, Any], why: str) -> None:
    key, root = own_maker()
    own, middle = intermediate(key, root, **change)
    chip = endorsement_certificate(KEY, own, middle.subject)
    assert why in problem(chip, [middle], [root])


def test_a_signature_with_a_broken_hash_vouches_for_nobody(tmp_path: Path) -> None:
    """Such a signature is not verified any more: anybody could have written it."""
    (tmp_path / "extensions").write_text("extendedKeyUsage = 2.23.133.8.1\n")

    def openssl(*arguments: str) -> None:
        subprocess.run(["/usr/bin/openssl", *arguments], cwd=tmp_path, check=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-batch")
    openssl("req", "-x509", *new, "-subj", "/CN=maker", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new, "-subj", "/CN=chip", "-keyout", "key", "-out", "request")
    openssl(
        *("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-sha1"),
        *("-extfile", "extensions", "-out", "chip.pem"),
    )
    root, chip = (
        x509.load_pem_x509_certificate((tmp_path / name).read_bytes())
        for name in ("ca.pem", "chip.pem")
    )
    assert "SHA1" in problem(chip, [], [root])


def test_a_chain_that_is_longer_than_it_may_be() -> None:
    key, root = own_maker()
    first_key, first = intermediate(key, root, path=0, name="CN=first")
    second_key, second = intermediate(first_key, first, name="CN=second")
    chip = endorsement_certificate(KEY, second_key, second.subject)
    assert "so long a chain" in problem(chip, [first, second], [root])


def test_a_root_that_has_ended() -> None:
    key, root = own_maker(end=NOW - timedelta(minutes=1))
    chip = endorsement_certificate(KEY, key, root.subject)
    assert "is valid from" in problem(chip, [], [root])


def test_the_maker_s_own_ca_is_no_chip() -> None:
    key, root = own_maker()
    _, middle = intermediate(key, root)
    assert "extended key usage" in problem(middle, [], [root])


# Names in an order that is not DER's, as Nuvoton writes them


def test_a_maker_whose_names_are_in_another_order() -> None:
    key = ec_key()
    name = unsorted_name("Root")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    root_der = turned_over(builder.sign(key, hashes.SHA256()), key, [name])
    chip_der = turned_over(endorsement_certificate(KEY, key, name), key, [name])
    for der in (root_der, chip_der):
        with pytest.raises(ValueError, match="SetOrdering"):
            x509.load_der_x509_certificate(der)
    root, chip = map(read_certificate, (root_der, chip_der))
    assert written(chip) == chip_der
    assert problem(chip, [], [root]) == ""
    other_key = ec_key()
    forged = read_certificate(
        turned_over(endorsement_certificate(KEY, other_key, name), other_key, [name])
    )
    assert "not named" in problem(forged, [], [root])


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x30\x05\x31", b"\x31\x84\xff\xff\xff\xff", b"\x30\x80" * 5000]
)
def test_what_is_no_der_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_certificate(data)


@given(st.binary(max_size=200))
def test_sorting_keeps_the_length(data: bytes) -> None:
    with suppress(ValueError):
        again = with_sorted_sets(data)
        assert len(again) == len(data)
        assert with_sorted_sets(again) == again
