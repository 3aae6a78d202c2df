"""The files that travel: anything else is refused with its reason, and nothing else happens."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support.chips import (
    NEVER_OUTSIDE,
    area_of,
    endorsement_certificate,
    own_maker,
    software_request,
    turned_over,
    unsorted_name,
)
from support.pki import ec_key

from tpmconsole.enrol import files, sealing
from tpmconsole.enrol.files import AttestedRequest
from tpmconsole.enrol.inventory import read_inventory
from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.x509.as_signed import read_certificate

KEY = ec_key()
MAKER, ROOT = own_maker()
ENDORSEMENT = ec_key()
CERTIFICATE = endorsement_certificate(ENDORSEMENT.public_key(), MAKER, ROOT.subject)
ATTESTED = AttestedRequest(
    software_request(KEY),
    area_of(KEY.public_key(), public_area.SIGN | NEVER_OUTSIDE),
    (CERTIFICATE,),
    (ROOT,),
)
PEM = ATTESTED.to_pem()
SEALED = sealing.seal(ATTESTED, ENDORSEMENT.public_key(), b"certificates").to_pem()
CHALLENGE = sealing.challenge(ATTESTED, ENDORSEMENT.public_key())
ANSWER = CHALLENGE.expected.to_pem()


def test_the_request_is_first_for_programs_that_know_nothing_of_the_rest(tmp_path: Path) -> None:
    import subprocess

    from cryptography import x509

    assert x509.load_pem_x509_csr(PEM) == ATTESTED.request
    path = tmp_path / "attested"
    path.write_bytes(PEM)
    done = subprocess.run(
        ["/usr/bin/openssl", "req", "-in", str(path), "-noout", "-verify"],
        capture_output=True,
        check=True,
    )
    assert b"OK" in done.stderr + done.stdout


def test_each_is_read_as_it_was_written() -> None:
    assert files.read_attested(b"text around\r\n" + PEM.replace(b"\n", b"\r\n")) == ATTESTED
    assert files.read_sealed(SEALED).to_pem() == SEALED
    assert files.read_challenge(CHALLENGE.pem).encoded() in _body(CHALLENGE.pem)
    assert files.read_answer(ANSWER) == CHALLENGE.expected


def _body(pem: bytes) -> bytes:
    return files.blocks(pem)[0][1]


def test_the_layout_is_the_manual_page_s() -> None:
    """Byte for byte: others write the CA's side after it."""
    key = dict(files.blocks(PEM))[files.KEY]
    area = ATTESTED.area.encoded
    assert key == b"\0\1" + struct.pack(">H", len(area)) + area
    sealed, name = _body(SEALED), ATTESTED.area.name
    assert sealed.startswith(b"\0\1\0\x22" + name)
    rest = sealed[4 + len(name) + 32 :]
    for _ in range(2):
        rest = rest[2 + int.from_bytes(rest[:2], "big") :]
    assert len(rest) == 12 + len(b"certificates") + 16
    assert _body(ANSWER) == b"\0\1" + ATTESTED.digest + CHALLENGE.expected.proof


READERS = {
    "attested request": (files.read_attested, PEM),
    "sealed certificate": (files.read_sealed, SEALED),
    "challenge": (files.read_challenge, CHALLENGE.pem),
    "answer": (files.read_answer, ANSWER),
}


@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize("other", READERS)
def test_one_for_another_says_what_it_is(what: str, other: str) -> None:
    if what == other:
        return
    with pytest.raises(ConsoleError) as caught:
        READERS[what][0](READERS[other][1])
    assert other in caught.value.cause
    assert what in caught.value.cause


@pytest.mark.parametrize("what", READERS)
def test_a_later_version_says_so(what: str) -> None:
    read, pem = READERS[what]
    changed = b""
    for label, body in files.blocks(pem):
        later = b"\0\2" + body[2:] if label.startswith("TPM") else body
        changed += files.armour(label, later)
    with pytest.raises(ConsoleError, match="version 2"):
        read(changed)


@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize("data", [b"", b"-----BEGIN CERTIFICATE-----", b"\xff" * 100, b"x" * 10**6])
def test_what_is_none(what: str, data: bytes) -> None:
    with pytest.raises(ConsoleError, match="File not read"):
        READERS[what][0](data)


def test_twice_is_none() -> None:
    with pytest.raises(ConsoleError, match="more than one"):
        files.read_attested(PEM + PEM)
    with pytest.raises(ConsoleError, match="more than one"):
        files.read_sealed(SEALED + SEALED)


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(what=st.sampled_from(sorted(READERS)), at=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_whatever_was_changed_is_an_error_in_words_or_read(what: str, at: int, byte: int) -> None:
    read, pem = READERS[what]
    number = at % len(files.blocks(pem))
    changed = b""
    for index, (label, body) in enumerate(files.blocks(pem)):
        if index == number:
            place = at % len(body)
            body = body[:place] + bytes([byte]) + body[place + 1 :]  # noqa: PLW2901
        changed += files.armour(label, body)
    with suppress(ConsoleError):  # and nothing else
        read(changed)


def test_a_file_cut_short() -> None:
    for what, (read, pem) in READERS.items():
        with pytest.raises(ConsoleError) as caught:
            read(pem[: len(pem) // 2])
        assert what in caught.value.cause or "damaged" in caught.value.cause


def test_unseal_wants_the_very_head() -> None:
    """The Name and the endorsement key are authenticated with the certificates."""
    sealed = files.read_sealed(SEALED)
    other = replace(sealed, envelope=replace(sealed.envelope, endorsement=bytes(32)))
    with pytest.raises(ConsoleError, match="Sealed file damaged"):
        sealing.unseal(other, lambda _: bytes(32))


# The inventory

GOOD = "5e" * 32


def test_an_inventory() -> None:
    colons = ":".join(["AB"] * 32)
    text = (
        f"fingerprint,name\n# our boards\n\n{GOOD},gateway-7,dns:gateway.local IP:192.0.2.7\n"
        f'{colons}, "pump 1" \n'
    )
    boards = read_inventory(text.encode())
    assert boards["ab" * 32].name == "pump 1"
    board = boards[GOOD]
    asked = ("dns:gateway-7", "dns:GATEWAY.local", "ip:192.0.2.7", "dns:other", "uri:gateway-7")
    assert [board.may_have(one) for one in asked] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("5e5e,gateway", "line 1"),
        (f"{GOOD}", "line 1"),
        (f"{GOOD},", "line 1"),
        (f"{GOOD},a\n{GOOD},b", "'a' already"),
        ('"' + "x" * 200_000, "line"),
    ],
)
def test_an_inventory_that_is_none(text: str, why: str) -> None:
    with pytest.raises(ConsoleError, match="Inventory not read") as caught:
        read_inventory(text.encode())
    assert why in caught.value.cause


def test_the_root_is_no_endorsement_certificate() -> None:
    read = files.read_attested(PEM)
    assert read.certificates == (CERTIFICATE,)
    assert read.chain[0].public_bytes(Encoding.DER) == ROOT.public_bytes(Encoding.DER)


def test_who_only_looks_for_it_finds_it() -> None:
    """The identity's room looks at the kept request without reading it whole."""
    from tpmconsole.identity.identity import ATTESTED_KEY

    assert ATTESTED_KEY in PEM
    assert files.is_attested(PEM)
    assert not files.is_attested(SEALED)
    assert files.is_sealed(SEALED)
    assert not files.is_sealed(PEM)


def test_a_certificate_whose_names_are_in_another_order_stays_as_it_is() -> None:
    """Its maker has signed it so, and the CA at the other end verifies that."""
    name = unsorted_name("Root")
    der = turned_over(endorsement_certificate(ENDORSEMENT.public_key(), MAKER, name), MAKER, [name])
    attested = replace(ATTESTED, certificates=(read_certificate(der),))
    pem = attested.to_pem()
    assert (files.CERTIFICATE, der) in files.blocks(pem)
    assert files.read_attested(pem) == attested
