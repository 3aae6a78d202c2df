"""Reading what CAs send, and saying what a file is instead."""

from __future__ import annotations

import base64
import contextlib
import re
import time

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PublicFormat,
    pkcs7,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pki import ca, ec_key, key_pem, leaf, pem

from tpmconsole.errors import ConsoleError
from tpmconsole.x509.bundle import read_bundle
from tpmconsole.x509.request import build
from tpmconsole.x509.request_spec import RequestSpec

ROOT = ca("Root")
LEAF = leaf(ROOT)
BOTH = [LEAF.certificate, ROOT.certificate]
PEM = pem(*BOTH)
DER = LEAF.certificate.public_bytes(Encoding.DER)
P7_PEM = pkcs7.serialize_certificates(BOTH, Encoding.PEM)
P7_DER = pkcs7.serialize_certificates(BOTH, Encoding.DER)
HOLLOW = b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"
REQUEST = build(ec_key(), RequestSpec("CN=gateway"))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PEM, id="pem"),
        pytest.param(PEM.replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(PEM.replace(b"\n", b"\r"), id="cr"),
        pytest.param(b"\xef\xbb\xbf" + PEM, id="bom"),
        pytest.param(b"\xff\xfe" + PEM.decode().encode("utf-16-le"), id="utf-16"),
        pytest.param(b"Dear customer -- yours:\n" + PEM + b"\n-- \nYour CA\n", id="text around"),
        pytest.param(PEM.replace(b"\n", b"\n> "), id="quoted in a mail"),
        pytest.param(PEM.replace(b"\n", b"\n    "), id="indented"),
        pytest.param(PEM + PEM, id="twice"),
        pytest.param(key_pem(ec_key()) + PEM, id="with a private key, which is not looked at"),
        pytest.param(P7_PEM, id="pkcs7 pem"),
        pytest.param(P7_PEM.replace(b" PKCS7", b" CMS"), id="cms"),
        pytest.param(P7_DER, id="pkcs7 der"),
        pytest.param(base64.encodebytes(P7_DER), id="pkcs7 as EST sends it"),
    ],
)
def test_every_form_is_read(data: bytes) -> None:
    assert set(read_bundle(data)) == set(BOTH)


@pytest.mark.parametrize("data", [DER, base64.b64encode(DER)])
def test_one_certificate_as_der(data: bytes) -> None:
    assert read_bundle(data) == [LEAF.certificate]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"  \n", "empty", id="blank"),
        pytest.param(
            pkcs12.serialize_key_and_certificates(
                b"x", LEAF.key, LEAF.certificate, None, BestAvailableEncryption(b"x")
            ),
            "PKCS #12",
            id="pkcs12",
        ),
        pytest.param(REQUEST.public_bytes(Encoding.PEM), "signing request", id="csr"),
        pytest.param(REQUEST.public_bytes(Encoding.DER), "signing request", id="csr der"),
        pytest.param(key_pem(ec_key()), "private key", id="private key"),
        pytest.param(
            b"-----BEGIN TSS2 PRIVATE KEY-----\nAA==\n-----END TSS2 PRIVATE KEY-----\n",
            "private key",
            id="TSS2 key",
        ),
        pytest.param(
            LEAF.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "public key",
            id="public key",
        ),
        pytest.param(b"<!DOCTYPE html><html><body>Log in</body></html>", "web page", id="html"),
        pytest.param(PEM[:300], "cut off", id="cut off"),
        pytest.param(b"-----BEGIN X509 CRL-----\nAA==\n", "revocation list", id="crl"),
        pytest.param(b"hello, this is your certificate", "no certificate", id="text"),
        pytest.param(DER[:100], "no certificate", id="der cut off"),
        pytest.param(b"\x30\x03\x02\x01\x05", "no certificate", id="other der"),
        pytest.param(PEM.replace(PEM[100:104], b"!!!!"), "damaged", id="damaged"),
        pytest.param(HOLLOW, "damaged", id="hollow"),
        pytest.param(b"A" * (1024 * 1024 + 1), "1048577 bytes", id="too large"),
        pytest.param(b"\x1b]0;owned\x07\x00\xff", "no certificate", id="binary"),
    ],
)  # fmt: skip
def test_what_it_is_instead(data: bytes, cause: str) -> None:
    with pytest.raises(ConsoleError, match=re.escape(cause)) as caught:
        read_bundle(data)
    assert caught.value.remedy
    assert caught.value.cause.isprintable()


def test_hostile_input_takes_no_time() -> None:
    """No END for 40,000 BEGINs: a search to the end of the file for each would take minutes."""
    begin = time.monotonic()
    for data in (b"-----BEGIN CERTIFICATE-----\n" * 37_000, b"-" * 1024 * 1024, b"0" * 1024 * 1024):
        with pytest.raises(ConsoleError):
            read_bundle(data)
    assert time.monotonic() - begin < 5


def test_too_many_certificates() -> None:
    with pytest.raises(ConsoleError, match="more than 500"):
        read_bundle(PEM * 251)


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.integers(0, len(DER)), st.integers(0, 255))
def test_damage_is_an_answer_and_never_a_crash(noise: bytes, at: int, byte: int) -> None:
    changed = DER[:at] + bytes([byte]) + DER[at + 1 :]
    broken = PEM[:at] + bytes([byte]) + PEM[at + 1 :]
    for data in (noise, changed, broken, b"\x30" + noise, P7_DER[:at] + noise):
        with contextlib.suppress(ConsoleError):
            assert read_bundle(data)
