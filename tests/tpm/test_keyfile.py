"""TSS2 key files: what is read, what is written, and what is said of everything else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import support.keys as samples
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, pkcs7
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tpmconsole.tpm.keyfile import LIMIT, KeyFileError, TssKey, inspect, parse, public_area
from tpmconsole.tpm.keyfile.pem import armour
from tpmconsole.tpm.keyfile.policy import SignedPolicy, Step
from tpmconsole.tpm.keyfile.scan import scan
from tpmconsole.tpm.model import KeyKind
from tpmconsole.tpm.primaries import MARKS

PEM = samples.OPENSSL_EC
KEY = parse(PEM)
DER = KEY.to_der()
TRUE_AS_FF = b"\xa0\x03\x01\x01\xff"


def refused(data: bytes) -> KeyFileError:
    with pytest.raises(KeyFileError) as caught:
        parse(data)
    assert caught.value.cause
    assert caught.value.remedy
    return caught.value


# What real tools wrote


def test_a_key_of_tpm2_openssl(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(PEM)
    file.chmod(0o600)
    found = inspect(file)
    assert (found.kind, found.algorithm, found.parent) == ("loadable", "EC P-256", "0x40000001")
    assert (found.auth, found.counts_towards_lockout, found.mode) == ("none", True, "0600")
    assert "signs" in found.attributes
    assert "no lock-out" not in found.attributes
    assert (found.reason, found.description, found.policy, found.remarks) == (None, None, (), ())
    public = serialization.load_pem_public_key((found.public_pem or "").encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)


def test_an_rsa_key_with_a_password() -> None:
    key = parse(samples.OPENSSL_RSA)
    assert (key.algorithm, key.auth) == ("RSA 2048", "password")
    public = key.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.public_numbers().e == 65537


def test_a_key_of_tpm2_pytss_does_not_count() -> None:
    key = parse(samples.PYTSS_EC)
    assert key.has_noda
    assert "no lock-out" in key.attributes
    assert key.to_pem() == samples.PYTSS_EC


def test_a_key_of_tpm2_encodeobject_says_the_opposite_of_what_is_true() -> None:
    key = parse(samples.ENCODEOBJECT_EC)
    assert key.parent == 0x81000077
    assert not key.empty_auth


# What is around a key


@pytest.mark.parametrize(
    "around",
    [
        pytest.param(lambda pem: pem.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda pem: pem.rstrip(b"\n"), id="no final newline"),
        pytest.param(lambda pem: pem.replace(b"\n", b" \t\n"), id="trailing spaces"),
        pytest.param(lambda pem: b"\xef\xbb\xbf" + pem, id="byte order mark"),
        pytest.param(lambda pem: b"# key of: gateway\n\n" + pem + b"end\n", id="comments"),
        pytest.param(lambda pem: b"\xff\xfe\x80\n" + pem, id="binary before"),
        pytest.param(
            lambda pem: pem.replace(b"KEY-----\n", b"KEY-----\nA: b\n c\nD: e\n\n", 1), id="headers"
        ),
        pytest.param(
            lambda pem: b"-----BEGIN X-----\nAA==\n-----END X-----\n" + pem, id="another block"
        ),
        pytest.param(lambda pem: b"-----BEGIN X-----\nAA==\n" + pem, id="an unfinished block"),
        pytest.param(lambda _pem: DER, id="DER"),
        pytest.param(
            lambda _pem: DER.replace(TRUE_AS_FF, b"\xa0\x03\x01\x01\x01"), id="TRUE as 01"
        ),
    ],
)
def test_the_same_key_whatever_is_around_it(around: Callable[[bytes], bytes]) -> None:
    assert parse(around(PEM)) == KEY
    assert parse(around(PEM)).remarks == ()


def test_absent_empty_auth_means_false() -> None:
    without = b"\x30\x81" + bytes([DER[2] - 5]) + DER[3:].replace(TRUE_AS_FF, b"")
    assert parse(without) == replace(KEY, empty_auth=False)
    assert parse(armour(without)) == replace(KEY, empty_auth=False)


def test_remarks_say_what_is_odd() -> None:
    assert "2 bytes follow" in parse(armour(DER + b"\0\0")).remarks[0]
    assert "more TSS2 keys" in parse(PEM + samples.PYTSS_EC).remarks[0]
    described = parse(replace(KEY, description="x").to_pem())
    assert "tpm2-openssl cannot read its field description" in described.remarks


def test_parents_are_read_as_other_tools_read_them() -> None:
    at = DER.index(b"\x02\x04\x40\x00\x00\x01")
    negative = DER[:at] + b"\x02\x04\x81\x00\x00\x01" + DER[at + 6 :]
    assert parse(negative).parent == 0x81000001
    assert "negative" in parse(negative).remarks[0]
    assert parse(replace(KEY, parent=0).to_pem()).parent == 0x40000001
    for parent in (0x01C00002, 0x90000000, -(2**31) - 1, 2**40):
        assert refused(replace(KEY, parent=parent).to_pem()).part == "parent"


# Writing


def test_every_optional_field_survives() -> None:
    key = samples.full_key()
    assert parse(key.to_pem()) == key
    assert parse(key.to_der()) == key
    assert parse(key.to_pem()).to_der() == key.to_der()
    assert key.extra_fields == ("policy", "secret", "authPolicy", "description", "rsaParent")


def test_which_primary_key_is_meant_survives_and_only_a_known_one() -> None:
    for mark in sorted(MARKS):
        marked = replace(KEY, mark=mark)
        assert marked.to_pem().startswith(f"Primary key: {mark}\n-----BEGIN".encode())
        assert parse(marked.to_pem()) == marked
        assert parse(marked.to_pem().replace(b"\n", b"\r\n")) == marked
    for before in ("Primary key: other\n", "Primary key:\n", "Primary key: rsa-zeros\n\nnote\n"):
        assert parse(before.encode() + KEY.to_pem()) == KEY


def test_what_the_policies_ask_for() -> None:
    assert samples.full_key().policy_words == (
        "PCR values: SHA-256 0,7",
        "the key's password",
        "signed policy 'évening': the password of another object",
        "signed policy without a name: policy command 0x1ff",
    )
    assert Step(0x17F, b"\x00\x00").words == "PCR values"


def test_sealed_data() -> None:
    key = TssKey(KeyKind.SEALED, False, 0x81000001, samples.sealed_area(), b"\x22" * 100)
    read = parse(key.to_pem())
    assert read == key
    assert (read.kind, read.algorithm, read.auth) == (KeyKind.SEALED, "sealed data", "password")
    with pytest.raises(KeyFileError):
        read.public_key()


def test_pem_is_as_the_standard_says() -> None:
    lines = samples.full_key().to_pem().decode("ascii").split("\n")
    assert lines[0] == "-----BEGIN TSS2 PRIVATE KEY-----"
    assert lines[-2:] == ["-----END TSS2 PRIVATE KEY-----", ""]
    assert {len(line) for line in lines[1:-3]} == {64}


STEPS = st.lists(st.builds(Step, st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=3)
KEYS = st.builds(
    TssKey,
    kind=st.sampled_from([KeyKind.LOADABLE, KeyKind.IMPORTABLE]),
    empty_auth=st.booleans(),
    parent=st.one_of(st.just(0x40000001), st.integers(0x81000000, 0x81FFFFFF)),
    public=st.just(KEY.public),
    private=st.binary(min_size=1, max_size=300),
    policy=STEPS.map(tuple),
    secret=st.binary(min_size=1, max_size=80),
    auth_policy=st.lists(
        st.builds(SignedPolicy, st.none() | st.text(max_size=10), STEPS.map(tuple)), max_size=2
    ).map(tuple),
    description=st.none() | st.text(max_size=40),
    rsa_parent=st.booleans(),
)


@given(KEYS)
def test_what_is_written_is_read_again(key: TssKey) -> None:
    assert parse(key.to_pem()) == key
    assert parse(key.to_der()) == key


# Damage


def without(data: bytes, text: bytes) -> bytes:
    assert text in data
    return data.replace(text, b"", 1)


def with_public(area: bytes) -> bytes:
    return replace(KEY, public=area).to_pem()


DAMAGE = {
    "label misspelt": (PEM.replace(b"TSS2 PRIVATE KEY", b"TSS2 PRIVAT KEY"), "label"),
    "label of another kind": (PEM.replace(b"TSS2 PRIVATE", b"EC PRIVATE"), "label"),
    "label in small letters": (PEM.replace(b"BEGIN", b"begin"), "label"),
    "a dash missing": (PEM.replace(b"-----BEGIN", b"----BEGIN"), "label"),
    "indented": (b"  " + PEM.replace(b"\n", b"\n  "), "label"),
    "first line missing": (without(PEM, b"-----BEGIN TSS2 PRIVATE KEY-----\n"), "label"),
    "last line with another label": (PEM.replace(b"END TSS2", b"END TSS"), "truncated"),
    "last line misspelt": (PEM.replace(b"END TSS2", b"EN TSS2"), "label"),
    "last line missing": (without(PEM, b"-----END TSS2 PRIVATE KEY-----\n"), "truncated"),
    "half of it": (PEM[: len(PEM) // 2], "truncated"),
    "a line missing": (without(PEM, PEM.split(b"\n")[3] + b"\n"), "truncated"),
    "a character outside Base64": (PEM.replace(b"MIHw", b"MI!w"), "base64"),
    "a character beyond ASCII": (PEM.replace(b"MIHw", "MIHé".encode()), "base64"),
    "a character missing": (PEM.replace(b"BgZn", b"BgZ"), "base64"),
    "padding in the middle": (PEM.replace(b"MIHw", b"M==w"), "base64"),
    "encrypted": (
        PEM.replace(b"KEY-----\n", b"KEY-----\nProc-Type: 4,ENCRYPTED\n\n", 1),
        "encryption",
    ),
    "nothing inside": (armour(b""), "structure"),
    "no sequence": (armour(b"\x04\x02ab"), "structure"),
    "cut DER": (armour(DER[:-9]), "truncated"),
    "cut DER, no PEM": (DER[:-9], "truncated"),
    "length too small": (armour(b"\x30\x81" + bytes([DER[2] - 9]) + DER[3:]), "DER length"),
    "indefinite length": (armour(b"\x30\x80" + DER[3:] + b"\0\0"), "DER length"),
    "a length of a length": (armour(b"\x30\xff" + DER), "DER length"),
    "inner length": (armour(DER.replace(b"\x04\x81\x80", b"\x04\x81\xff")), "DER length"),
    "another OID": (armour(DER.replace(b"\x0a\x01\x03", b"\x0a\x01\x09")), "OID"),
    "an invalid OID": (armour(DER.replace(b"\x0a\x01\x03", b"\x0a\x01\x83")), "OID"),
    "emptyAuth no BOOLEAN": (armour(DER.replace(TRUE_AS_FF, b"\xa0\x03\x02\x01\x01")), "emptyAuth"),
    "a field from the future": (
        armour(DER.replace(TRUE_AS_FF, b"\xa6\x03\x02\x01\x01")),
        "structure",
    ),
    "description no text": (
        armour(replace(KEY, description="ab").to_der().replace(b"\x0c\x02ab", b"\x04\x02ab")),
        "description",
    ),
    "a step without a command": (replace(KEY, policy=(Step(2**33),)).to_pem(), "policy"),
    "policy no list": (
        armour(samples.full_key().to_der().replace(b"\xa0\x04\x02\x02", b"\xa0\x04\x04\x02", 1)),
        "policy",
    ),
    "public size": (armour(DER.replace(b"\x04\x58\x00\x56", b"\x04\x58\x00\x57")), "public area"),
    "public area empty": (with_public(b""), "public area"),
    "public area cut": (with_public(KEY.public[:-1]), "public area"),
    "public area too long": (with_public(KEY.public + b"\0"), "public area"),
    "an unknown type of key": (with_public(b"\x00\x99" + KEY.public[2:]), "public area"),
    "a point off its curve": (with_public(KEY.public[:-1] + b"\x00"), "public area"),
    "a key labelled sealed data": (replace(KEY, kind=KeyKind.SEALED).to_pem(), "public area"),
    "private size": (armour(DER.replace(b"\x81\x80\x00\x7e", b"\x81\x80\x00\x7d")), "private area"),
    "private area empty": (replace(KEY, private=b"").to_pem(), "private area"),
    "importable without a secret": (replace(KEY, kind=KeyKind.IMPORTABLE).to_pem(), "secret"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(name: str, tmp_path: Path) -> None:
    data, part = DAMAGE[name]
    error = refused(data)
    assert error.part == part
    assert error.cause.startswith(f"{part}: ")
    file = tmp_path / "key.pem"
    file.write_bytes(data)
    assert inspect(file).kind == KeyKind.UNREADABLE
    assert inspect(file).reason == error.cause


@given(st.data())
def test_a_mutated_file_is_read_or_refused(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([PEM, DER, samples.OPENSSL_RSA, FULL_PEM, FULL_DER]))
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(changed) - 1))
        change = data.draw(st.sampled_from(["set", "cut", "insert", "repeat"]))
        if change == "set":
            changed[at] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del changed[at + 1 : at + data.draw(st.integers(2, 60))]
        elif change == "insert":
            changed[at:at] = data.draw(st.binary(max_size=20))
        else:
            changed[at:at] = changed[at : at + 40]
    try:
        key = parse(bytes(changed))
    except KeyFileError:
        return
    assert parse(key.to_der()) == key
    assert all(word.isprintable() for word in key.policy_words)


FULL_PEM, FULL_DER = samples.full_key().to_pem(), samples.full_key().to_der()


@given(st.binary(max_size=400))
def test_any_bytes_are_something(data: bytes) -> None:
    assert refused(data).kind in (KeyKind.NOT_TSS2, KeyKind.UNREADABLE)


@pytest.mark.parametrize(
    "unit",
    [
        b"-----BEGIN TSS2 PRIVATE KEY-----\n",
        b"-----BEGIN ",
        b"-----BEGIN A-----\n",
        b"-----BEGIN A----- \t",
        b"--TSS2 KEY",
        b"-- TSS2 KEY\n",
        b"A: b\n",
        b"\x30\x84\x00\x00\xff\xff",
        b"\x30\x80",
        b"\xa1\x82\xff\xff",
        b" ",
        b"-",
    ],
)
def test_nothing_takes_long(unit: bytes) -> None:
    whole = (unit * LIMIT)[:LIMIT]
    body = armour(DER[:30] + (unit * LIMIT)[: LIMIT // 2])
    began = time.monotonic()
    for data in (
        whole,
        b"-----BEGIN TSS2 PRIVATE KEY-----\n" + whole[:-100],
        body,
        b"0" + whole[1:],
    ):
        refused(data)
    assert time.monotonic() - began < 2


def test_more_than_the_limit_is_refused() -> None:
    assert refused(PEM + b" " * LIMIT).kind == KeyKind.NOT_TSS2


# What is something else

EC = ec.derive_private_key(12345, ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
NOW = datetime.now(UTC)
CERTIFICATE = (
    x509.CertificateBuilder()
    .subject_name(NAME)
    .issuer_name(NAME)
    .public_key(EC.public_key())
    .serial_number(1)
    .not_valid_before(NOW)
    .not_valid_after(NOW + timedelta(days=1))
    .sign(EC, hashes.SHA256())
)
CSR = x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(EC, hashes.SHA256())
PLAIN = serialization.NoEncryption()
SECRET = serialization.BestAvailableEncryption(b"x")
PKCS8_DER = EC.private_bytes(Encoding.DER, PrivateFormat.PKCS8, PLAIN)
OTHERS = {
    "PKCS#8": (
        EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, PLAIN),
        "a private key (PKCS#8)",
    ),
    "PKCS#8 DER": (PKCS8_DER, "a private key"),
    "PKCS#8 encrypted": (
        EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, SECRET),
        "an encrypted private key (PKCS#8)",
    ),
    "PKCS#8 DER encrypted": (
        EC.private_bytes(Encoding.DER, PrivateFormat.PKCS8, SECRET),
        "an encrypted private key (PKCS#8)",
    ),
    "EC": (
        EC.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, PLAIN),
        "an EC private key (SEC 1)",
    ),
    "EC after its parameters": (
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        + EC.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, PLAIN),
        "an EC private key (SEC 1)",
    ),
    "RSA": (
        RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, PLAIN),
        "an RSA private key (PKCS#1)",
    ),
    "RSA encrypted": (
        RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, SECRET),
        "an RSA private key (PKCS#1), encrypted",
    ),
    "OpenSSH": (
        EC.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, PLAIN),
        "an OpenSSH private key",
    ),
    "certificate": (CERTIFICATE.public_bytes(Encoding.PEM), "a certificate"),
    "certificate DER": (CERTIFICATE.public_bytes(Encoding.DER), "a certificate"),
    "CSR": (CSR.public_bytes(Encoding.PEM), "a certificate signing request"),
    "CSR DER": (CSR.public_bytes(Encoding.DER), "a certificate signing request"),
    "PKCS#7 DER": (
        pkcs7.serialize_certificates([CERTIFICATE], Encoding.DER),
        "a PKCS#7 bundle",
    ),
    "public key": (KEY.public_pem(), "a public key"),
    "another label": (
        b"-----BEGIN \x1b[31mX-----\nAA==\n-----END \x1b[31mX-----\n",
        r"a PEM file with the label '\x1b[31mX'",
    ),
    "an unfinished block": (
        b"-----BEGIN CERTIFICATE-----\nAA==\n",
        "a certificate without its last line",
    ),
    "public area": (
        samples.sized(KEY.public),
        "only a public area (TPM2B_PUBLIC, as tpm2_create -u writes it)",
    ),
    "saved context": (b"\xba\xdc\xc0\xde\x00\x01", "a TPM context or handle that tpm2-tools saved"),
    "UTF-16": ("\ufeff-----BEGIN".encode("utf-16-le"), "UTF-16 text"),
    "text": (b"0 is a number\n", "text"),
    "prose about it": (
        b"A key file begins with -----BEGIN TSS2 PRIVATE KEY-----\nTSS2_LOG=all tpm2_load --help\n",
        "text",
    ),
    "nothing": (b"", "empty"),
    "bytes": (b"\x00\xff\x01", "binary data"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_file_is_named(name: str) -> None:
    data, what = OTHERS[name]
    error = refused(data)
    assert (error.part, error.kind) == ("", KeyKind.NOT_TSS2)
    assert error.cause == f"it is {what}"


OLD_DER = b"\x30\x81\xef" + b"\x06\x05\x67\x81\x05\x0a\x02" + DER[11:]
OLD_BLOB = PEM.replace(b"TSS2 PRIVATE KEY", b"TSS2 KEY BLOB").replace(b"BgZn", b"BgVn")
BLOB_V1 = b"-----BEGIN TSS2 PRIVKEY BLOB v1-----\nAH4AIG4Z\n-----END TSS2 PRIVKEY BLOB v1-----\n"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        pytest.param(OLD_DER, "", id="OID"),
        pytest.param(armour(OLD_DER), "", id="OID under today's label"),
        pytest.param(OLD_BLOB, " (TSS2 KEY BLOB)", id="label"),
        pytest.param(OLD_BLOB.decode().encode("utf-16"), " (TSS2 KEY BLOB)", id="label in UTF-16"),
        pytest.param(BLOB_V1 * 2, " (TSS2 PRIVKEY BLOB v1)", id="two blocks"),
        pytest.param(
            BLOB_V1.replace(b"PRIV", b"PUB") + BLOB_V1, " (TSS2 PUBKEY BLOB v1)", id="pair"
        ),
    ],
)
def test_an_old_format_is_named_in_folders_too(data: bytes, named: str, tmp_path: Path) -> None:
    error = refused(data)
    assert (error.title, error.part) == ("Key in an old format", "format")
    assert error.cause == f"it is a TSS2 key in the format from before 2019{named}"
    (tmp_path / "old").write_bytes(data)
    assert [file.reason for file in scan([tmp_path])] == [error.cause]


@pytest.mark.parametrize("mark", [True, False], ids=["with a mark", "without"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_key_saved_as_utf_16_is_found_in_a_folder(
    encoding: str, mark: bool, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(("\ufeff" * mark + PEM.decode()).encode(encoding))
    (found,) = scan([tmp_path])
    assert found.kind == KeyKind.LOADABLE
    assert "UTF-16" in found.remarks[0]


@pytest.mark.parametrize("kind", [0x0C, 0x13, 0x14, 0x16])
def test_a_description_that_is_no_utf_8_leaves_a_good_key(kind: int) -> None:
    der = (
        replace(KEY, description="ab").to_der().replace(b"\x0c\x02ab", bytes([kind]) + b"\x02\xfcb")
    )
    key = parse(armour(der))
    assert (key.public, key.private, key.description) == (KEY.public, KEY.private, "üb")
    assert "the text in its field description is not UTF-8" in key.remarks


def test_a_policy_s_name_that_is_no_utf_8_leaves_a_good_key() -> None:
    der = replace(KEY, auth_policy=(SignedPolicy("ab", (Step(0x16B),)),)).to_der()
    key = parse(armour(der.replace(b"\x0c\x02ab", b"\x0c\x02\xfcb")))
    assert key.auth_policy[0].name == "üb"


def test_another_key_under_our_label() -> None:
    error = refused(armour(PKCS8_DER))
    assert error.part == "label"
    assert "a private key" in error.cause
    assert "a certificate" in refused(armour(CERTIFICATE.public_bytes(Encoding.DER))).cause


# Public areas

TEMPLATES = {
    "rsa2048:rsassa-sha256:null": ("RSA 2048", "RSASSA SHA-256"),
    "rsa3072:rsapss-sha384:null": ("RSA 3072", "RSAPSS SHA-384"),
    "rsa2048:rsaes:null": ("RSA 2048", "RSAES"),
    "rsa2048:null:aes128cfb": ("RSA 2048", ""),
    "ecc256:ecdsa-sha256:null": ("EC P-256", "ECDSA SHA-256"),
    "ecc384:ecdaa4-sha256:null": ("EC P-384", "ECDAA SHA-256"),
    "ecc521:ecdh-sha512:null": ("EC P-521", "ECDH SHA-512"),
    "ecc256:null:aes128cfb": ("EC P-256", ""),
    "hmac:sha256": ("HMAC SHA-256", ""),
    "xor:sha384": ("XOR SHA-384", ""),
    "aes256cbc": ("AES 256 CBC", ""),
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_areas_that_the_tss_writes(template: str) -> None:
    from tpm2_pytss.types import TPM2B_PUBLIC

    public = TPM2B_PUBLIC.parse(template, objectAttributes="sign|noda|userwithauth")
    area = public.publicArea
    if template.startswith("rsa"):
        area.unique.rsa.buffer = RSA.public_key().public_numbers().n.to_bytes(256, "big")
        area.parameters.rsaDetail.keyBits = 2048
    found = public_area.decode(area.marshal())
    algorithm, scheme = TEMPLATES[template]
    assert found.algorithm == algorithm.replace("3072", "2048")
    assert found.scheme == scheme
    assert found.name == bytes(public.get_name())
    assert found.words == ("no policy needed", "no lock-out", "signs")


@pytest.mark.parametrize("curve", samples.CURVES)
def test_points_on_every_curve(curve: str) -> None:
    public = ec.derive_private_key(99, samples.CURVES[curve][1]).public_key()
    area = public_area.decode(samples.ec_area(curve, public))
    assert area.algorithm == f"EC {curve}"
    assert area.public_key() == public


def test_a_coordinate_without_its_leading_zeros() -> None:
    number = next(n for n in range(1, 2000) if _x(n) < 2**248)
    public = ec.derive_private_key(number, ec.SECP256R1()).public_key()
    written = samples.ec_area("P-256", public)
    x = public.public_numbers().x
    shorter = written.replace(
        samples.sized(x.to_bytes(32, "big")), samples.sized(x.to_bytes(31, "big"))
    )
    assert len(shorter) == len(written) - 1
    assert public_area.decode(shorter).public_key() == public


def _x(number: int) -> int:
    return ec.derive_private_key(number, ec.SECP256R1()).public_key().public_numbers().x


def test_a_curve_that_openssl_lacks_is_listed_without_its_public_key(tmp_path: Path) -> None:
    at = KEY.public.index(b"\x00\x10\x00\x10\x00\x03") + 4
    area = KEY.public[:at] + b"\x00\x10" + KEY.public[at + 2 :]
    file = tmp_path / "bn.pem"
    file.write_bytes(with_public(area))
    found = inspect(file)
    assert (found.kind, found.algorithm, found.public_pem) == ("loadable", "EC BN P-256", None)
    with pytest.raises(KeyFileError, match=r"the public key of .* cannot be shown"):
        parse(file.read_bytes()).public_key()


def test_an_rsa_modulus_of_another_length_is_damaged() -> None:
    area = parse(samples.OPENSSL_RSA).public
    assert (
        refused(with_public(area.replace(b"\x00\x10\x08\x00", b"\x00\x10\x0c\x00"))).part
        == "public area"
    )
    even = area[:-1] + bytes([area[-1] & 0xFE])
    assert "modulus" in refused(with_public(even)).cause


@given(st.binary(max_size=300))
def test_any_public_area_is_decoded_or_refused(data: bytes) -> None:
    try:
        area = public_area.decode(b"\x00\x23\x00\x0b" + data)
    except public_area.PublicAreaError:
        return
    assert area.algorithm


# Showing


def test_a_description_never_steers_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(replace(KEY, description="\x1b]52;c;x\x07[bold]\u202e" + "x" * 900).to_pem())
    shown = inspect(file).description or ""
    assert shown.startswith(r"\x1b]52;c;x\x07[bold]\u202e")
    assert len(shown) < 250


def test_the_module_imports_fast() -> None:
    script = (
        "import sys, tpmconsole.tpm.keyfile.scan; "
        "sys.exit(any(name in sys.modules for name in ('cryptography', 'tpm2_pytss')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
