"""Reading what CAs send, and saying what a file is instead."""

from __future__ import annotations

import base64
import contextlib
import json
import quopri
import re
import time
import tracemalloc
import urllib.parse
import warnings
from email.message import EmailMessage

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
from tpmconsole.x509.bundle import MAX_BYTES, read_bundle
from tpmconsole.x509.request import build
from tpmconsole.x509.request_spec import RequestSpec

ROOT = ca("Root")
LEAF = leaf(ROOT)
BOTH = [LEAF.certificate, ROOT.certificate]
PEM = pem(*BOTH)
DER = LEAF.certificate.public_bytes(Encoding.DER)
P7_PEM = pkcs7.serialize_certificates(BOTH, Encoding.PEM)
P7_DER = pkcs7.serialize_certificates(BOTH, Encoding.DER)
PKCS12 = pkcs12.serialize_key_and_certificates(
    b"x", LEAF.key, LEAF.certificate, None, BestAvailableEncryption(b"x")
)
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


def _mail(encoding: str, subtype: str = "plain", text: str = PEM.decode()) -> bytes:
    mail = EmailMessage()
    mail["Subject"] = "Your certificate"
    mail.set_content(text, subtype=subtype, cte=encoding)
    return bytes(mail)


def _attached(data: bytes) -> bytes:
    mail = EmailMessage()
    mail.set_content("Attached.")
    mail.add_attachment(data, maintype="application", subtype="x-x509-user-cert", filename="c.crt")
    return bytes(mail)


def _entities(text: str) -> str:
    return text.replace("+", "&#43;").replace("/", "&#x2F;").replace("=", "&#61;")


ONE_LINE = PEM.decode().replace("\n", "\\n")
SHOUTED = _entities(PEM.decode()).replace("\n", "<br>\r\n")
X5C = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in BOTH]
URL_SAFE = base64.urlsafe_b64encode(DER).rstrip(b"=").decode()
SKETCH = "\n".join(f'  "{line}\\n" \\' for line in PEM.decode().splitlines())
P7_64 = base64.encodebytes(P7_DER)
UNMARKED = [PEM.decode().encode(f"utf-{form}") for form in ("16-le", "16-be", "32-le", "32-be")]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(json.dumps({"certificatePem": PEM.decode()}).encode(), id="AWS IoT"),
        pytest.param(
            json.dumps({"private_key": key_pem(ec_key()).decode(), "ca": [PEM.decode()]}).encode(),
            id="Vault",
        ),
        pytest.param(json.dumps(json.dumps({"crt": PEM.decode()})).encode(), id="JSON in JSON"),
        pytest.param(json.dumps(PEM.decode()).replace("/", "\\/").encode(), id="JSON of PHP"),
        pytest.param(
            json.dumps(PEM.decode()).replace("+", "\\u002b").replace("=", "\\u003d").encode(),
            id="JSON of Go",
        ),
        pytest.param(json.dumps(PEM.decode()).encode("utf-16"), id="JSON of PowerShell"),
        pytest.param(json.dumps(PEM.decode().splitlines()).encode(), id="JSON, line by line"),
        pytest.param(f'CA=x\nCERT="{ONE_LINE}"\n'.encode(), id="environment file"),
        pytest.param(PEM.replace(b"\n", b" "), id="on one line, with spaces"),
        pytest.param(PEM.replace(b"\n", b"\\r\\n"), id="with CRLF escaped"),
        pytest.param(SKETCH.encode(), id="a sketch in C"),
        pytest.param(urllib.parse.quote(PEM.decode()).encode(), id="nginx, escaped"),
        pytest.param(PEM.replace(b"\n", b"\xc2\xa0\n"), id="non-breaking spaces"),
        pytest.param(b"".join(b"\xef\xbb\xbf" + pem(one) for one in BOTH), id="BOM twice"),
        *(pytest.param(one, id=f"unmarked {at}") for at, one in enumerate(UNMARKED)),
        pytest.param(PEM.decode().encode("utf-32"), id="utf-32"),
        pytest.param(("Bücher €\n" + PEM.decode()).encode("utf-16"), id="more text in utf-16"),
        pytest.param(_mail("quoted-printable"), id="quoted-printable"),
        pytest.param(quopri.encodestring(PEM), id="quoted-printable alone"),
        pytest.param(_mail("base64"), id="mail in base64"),
        pytest.param(_mail("quoted-printable", "html", f"<html><p>{SHOUTED}"), id="HTML mail"),
        pytest.param(f"<html><body><pre>{SHOUTED}</pre>".encode(), id="web page"),
        pytest.param(_attached(PEM), id="attached"),
        pytest.param(_attached(P7_DER), id="PKCS #7 attached"),
        pytest.param(base64.b64encode(PEM), id="base64 of PEM"),
        pytest.param(base64.b64encode(base64.b64encode(PEM)), id="base64 twice"),
        pytest.param(base64.urlsafe_b64encode(PEM).rstrip(b"="), id="base64url of PEM"),
        pytest.param(
            b"data:\n  tls.crt: " + base64.b64encode(PEM) + b"\n  tls.key: "
            + base64.b64encode(key_pem(ec_key())),
            id="Kubernetes",
        ),
        pytest.param(json.dumps({"kty": "EC", "x5c": X5C}).encode(), id="JWK"),
        pytest.param(
            "".join(f"<X509Certificate>{one}</X509Certificate>" for one in X5C).encode(), id="SAML"
        ),
        pytest.param(P7_PEM.replace(b" PKCS7", b" CERTIFICATE"), id="PKCS #7 as CERTIFICATE"),
        pytest.param(P7_PEM.replace(b" PKCS7", b" CERTIFICATE CHAIN"), id="CERTIFICATE CHAIN"),
        pytest.param(P7_DER + b"\r\n", id="PKCS #7 and a line end"),
        pytest.param(b"\x30\x80" + P7_DER[4:] + b"\0\0", id="PKCS #7 in BER"),
        pytest.param(b"".join(base64.b64decode(one) for one in X5C), id="DER twice"),
        pytest.param(b"".join(base64.b64decode(one) + b"\r\n" for one in X5C), id="DER, line ends"),
        pytest.param(PEM.replace(b"-----", "\N{EM DASH}-".encode()), id="dashes of a letter"),
    ],
)  # fmt: skip
def test_every_wrapping_is_undone(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(read_bundle(data)) == set(BOTH)  # PKCS #7 is a set, sorted by its encoding


@pytest.mark.parametrize(
    "data",
    [
        DER.hex().encode(),
        DER.hex(":").encode(),
        b"\n" + DER,
        b"\xef\xbb\xbf" + DER,
        DER + b"\r\n",
        DER + b"\0" * 9,
        base64.b64encode(DER),
        URL_SAFE.encode(),
    ],
)
def test_one_certificate_as_der(data: bytes) -> None:
    assert read_bundle(data) == [LEAF.certificate]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"  \n", "empty", id="blank"),
        pytest.param(
            PKCS12,
            "PKCS #12",
            id="pkcs12",
        ),
        pytest.param(base64.b64encode(PKCS12), "PKCS #12", id="pkcs12 in base64"),
        pytest.param(P7_DER.replace(b"\x01\x07\x02", b"\x01\x07\x03"), "PKCS #7", id="enveloped"),
        pytest.param(DER.decode("latin-1").encode(), "saved as text", id="DER as UTF-8"),
        pytest.param(DER.decode("utf-8", "replace").encode(), "saved as text", id="DER destroyed"),
        pytest.param(DER + b"Yours, the CA", "13 bytes after", id="DER and a signature"),
        pytest.param(DER + DER[:99], "99 bytes after", id="DER and a part"),
        pytest.param(b"PK\x03\x04rest", "zip archive", id="zip"),
        pytest.param(b"ssh-ed25519 AAAA me@here", "SSH", id="ssh"),
        pytest.param(json.dumps(PEM[:300].decode()).encode(), "cut off", id="json cut off"),
        pytest.param(
            json.dumps(REQUEST.public_bytes(Encoding.PEM).decode()).encode(),
            "signing request",
            id="request in json",
        ),
        pytest.param(
            key_pem(ec_key()).replace(b"PRIVATE KEY", b"CERTIFICATE"),
            "it contains a private key",
            id="key under CERTIFICATE",
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
        pytest.param(DER[:100], "not a certificate", id="der cut off"),
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


HOSTILE = (
    b"-----BEGIN CERTIFICATE-----\n",  # no END for any: a search to the end for each took minutes
    b"-", b"0", b"\\", b"\\\\n", b"\0A", b"=", b"=3D= ", b"<", b"<a", b"&#", b"%0", b"%0A",
    b"0\x00", b"0\x80", b"0\x84\0", b"MII", b"MII ", b"LS0tLS1CRUdJTi", b"LS0tLS1CRUdJTi\n",
    b"M" * 60 + b"\n", b"-----BEGIN CERTIFICATE----------END CERTIFICATE-----",
)  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_input_takes_no_time_and_memory(unit: bytes) -> None:
    begin = time.process_time()
    tracemalloc.start()
    try:
        for data in (unit * (MAX_BYTES // len(unit)), DER + unit * 16_000):
            with contextlib.suppress(ConsoleError):
                read_bundle(data[:MAX_BYTES])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < 5
    assert peak < 128 * MAX_BYTES


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


FORMS = (
    DER, PEM, P7_DER, P7_PEM, PKCS12, P7_64, json.dumps(PEM.decode()).encode(), *UNMARKED,
    quopri.encodestring(PEM), SHOUTED.encode(), base64.b64encode(PEM), DER + DER,
)  # fmt: skip
# What a library says: its types and its manual's address.
_OF_A_LIBRARY = re.compile(r"https?:|PhantomData|ParseError|InvalidData|kind:|::|Error\(|ASN1Error")


@settings(derandomize=True, database=None, deadline=None, max_examples=400)
@given(st.sampled_from(FORMS), st.data())
def test_a_change_anywhere_is_read_or_told_in_our_words(form: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(form)))
    gone = data.draw(st.sampled_from((0, 1, 2, 30, len(form))))
    changed = form[:at] + data.draw(st.binary(max_size=4)) + form[at + gone :]
    told = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            assert read_bundle(changed)
        except ConsoleError as error:
            told = error.cause
    assert told.isprintable()
    assert not _OF_A_LIBRARY.search(told)


_WORDS = (
    *HOSTILE, b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"\n", b"PKCS7", PEM,
    DER[:40], base64.b64encode(DER), b"\xff\xfe", b"\\u00", b"=\n", b"&gt;", bytes(range(256)),
)  # fmt: skip


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(_WORDS) | st.binary(max_size=20), max_size=12))
def test_whatever_is_put_together_is_an_answer(parts: list[bytes]) -> None:
    with contextlib.suppress(ConsoleError):
        assert read_bundle(b"".join(parts))
