"""Requests: what is asked, what is refused, and that OpenSSL reads the same."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pki import ec_key, rsa_key

from tpmconsole.board.requests import form_values, spec_of_form
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.x509.names import san_entry
from tpmconsole.x509.request import build, preview, spec_of
from tpmconsole.x509.request_spec import STRING_TYPES, RequestSpec
from tpmconsole.x509.san import parse_san
from tpmconsole.x509.subject import (
    FORM_FIELDS,
    field_name,
    openssl_text,
    parse_subject,
    subject_text,
)

OPENSSL = shutil.which("openssl") or "openssl"
FULL = RequestSpec(
    "CN=gateway-1,OU=Line 2,O=Muster GmbH,L=Jena,ST=Thüringen,C=DE,serialNumber=A-17/3",
    ("dns:gateway.local", "ip:192.0.2.7", "ip:2001:db8::7", "uri:urn:dev:ops:1", "email:o@e.com"),
    "both",
)


def _openssl(request: x509.CertificateSigningRequest) -> str:
    done = subprocess.run(
        [OPENSSL, "req", "-verify", "-noout", "-text", "-nameopt", "RFC2253,-esc_msb,utf8"],
        input=request.public_bytes(Encoding.PEM),
        capture_output=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "OPENSSL_CONF": "/dev/null"},
    )
    assert b"verify OK" in done.stdout + done.stderr  # the stream depends on the release
    return done.stdout.decode()


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (ec_key(), "ecdsa-with-SHA256"),
        (ec_key(ec.SECP384R1()), "ecdsa-with-SHA384"),
        (rsa_key(), "sha256WithRSAEncryption"),
    ],
    ids=["P-256", "P-384", "RSA"],
)
def test_openssl_verifies_and_reads_it(key: Any, signed: str) -> None:
    text = _openssl(build(key, FULL))
    assert f"Signature Algorithm: {signed}" in text
    assert "CN=gateway-1,OU=Line 2,O=Muster GmbH,L=Jena,ST=Thüringen,C=DE" in text
    names = "DNS:gateway.local, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7"
    assert names in text
    assert "URI:urn:dev:ops:1, email:o@e.com" in text
    assert "TLS Web Client Authentication, TLS Web Server Authentication" in text
    assert "Digital Signature\n" in text
    assert "Encipherment" not in text


def test_pss_where_it_is_asked_for() -> None:
    request = build(rsa_key(), RequestSpec("CN=a"), "RSAPSS SHA-256")
    assert isinstance(request.signature_algorithm_parameters, padding.PSS)
    assert "rsassaPss" in _openssl(request)


@pytest.mark.parametrize(
    ("role", "usages"),
    [
        ("client", ["clientAuth"]),
        ("server", ["serverAuth"]),
        ("both", ["clientAuth", "serverAuth"]),
    ],
)
def test_role_decides_the_usages(role: str, usages: list[str]) -> None:
    request = build(ec_key(), RequestSpec("CN=a", (), role))
    found = request.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one._name for one in found] == usages
    assert isinstance(request.signature_hash_algorithm, hashes.SHA256)
    with pytest.raises(x509.ExtensionNotFound):
        request.extensions.get_extension_for_class(x509.SubjectAlternativeName)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("CN=a,O=b", "CN=a,O=b"),
        ("CN=a, O=b ,  C=DE", "CN=a,O=b ,C=DE"),
        ("cn=a,serialnumber=1", "CN=a,serialNumber=1"),
        (r"CN=a\, b,O=c", r"CN=a\, b,O=c"),
        ("CN=a+serialNumber=7,O=b", "CN=a+serialNumber=7,O=b"),
        ("2.5.4.3=a", "CN=a"),
        ("CN=a,OU=x,OU=y,DC=example,DC=com", "CN=a,OU=x,OU=y,DC=example,DC=com"),
        ("CN=工場,O=Ü", "CN=工場,O=Ü"),
    ],
)
def test_subjects(text: str, same: str) -> None:
    names = {x509.NameOID.SERIAL_NUMBER: "serialNumber"}
    try:
        assert parse_subject(text).rfc4514_string(names) == same
    except ConsoleError:
        # A space before a comma is not RFC 4514: it must be reported, not guessed at.
        assert " ," in same


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("/C=DE/O=X/CN=a", "CN=a,O=X,C=DE"),
        ("/CN=a/O=X", "O=X,CN=a"),
        ("/CN=a/", "CN=a"),
        (r"/O=A\/S, Ltd./CN=a", r"CN=a,O=A/S\, Ltd."),
        ("/CN=a+serialNumber=7/O=b", "O=b,CN=a+serialNumber=7"),
        ("/C=DE/CN=https://a.b/c?d=e", "CN=https://a.b/c?d=e,C=DE"),
        (r"/O=M\xC3\xBCller/CN=a", "CN=a,O=Müller"),
        ("C = DE, O = X, CN = a", "CN=a,O=X,C=DE"),
        ("C=DE, O=X, CN=a", "CN=a,O=X,C=DE"),  # OpenSSL since 3.2
        ("DC=com, DC=example, CN=a", "CN=a,DC=example,DC=com"),
        ("C=DE,O=X,CN=a", "C=DE,O=X,CN=a"),  # a program's, by RFC 4514
        ("CN=a, O=X, C=DE", "CN=a,O=X,C=DE"),
        ('C = DE, O = "X, Inc.", CN = a', r"CN=a,O=X\, Inc.,C=DE"),
        (r'O = "6\" pumps", CN = a', r"CN=a,O=6\" pumps"),
        (r"O = M\C3\BCller, CN = a", "CN=a,O=Müller"),
        ("O = b, CN = a + serialNumber = 7", "CN=a+serialNumber=7,O=b"),
        ("subject=C = DE, O = X, CN = a", "CN=a,O=X,C=DE"),
        ("subject= /C=DE/CN=a", "CN=a,C=DE"),
        ("Subject: C=DE, O=X, CN=a", "CN=a,O=X,C=DE"),
        ("Owner: CN=a, O=X, C=DE", "CN=a,O=X,C=DE"),
        ("countryName = DE, commonName = a", "CN=a,C=DE"),
        ("CN=a,S=Bayern,OID.2.5.4.5=7,E=o@e.com", "CN=a,ST=Bayern,serialNumber=7,E=o@e.com"),
    ],
)
def test_subjects_as_others_write_them(text: str, same: str) -> None:
    names = {x509.NameOID.SERIAL_NUMBER: "serialNumber", x509.NameOID.EMAIL_ADDRESS: "E"}
    parsed = parse_subject(text)
    assert parsed.rfc4514_string(names) == same
    assert parse_subject(subject_text(parsed)) == parsed


@pytest.mark.parametrize(
    "options",
    [(), ("-nameopt", "RFC2253"), ("-nameopt", "oneline"), ("-nameopt", "compat"),
     ("-nameopt", "oneline,-space_eq"), ("-nameopt", "oneline,-esc_msb,utf8")],
    ids=" ".join,
)  # fmt: skip
def test_what_openssl_prints_gives_the_same_encoding(options: tuple[str, ...]) -> None:
    typed = r"CN=a\, b \"c\",serialNumber=A-17,OU=Line 2,O=Müller \+ Söhne,L=Jena,ST=Thüringen,C=DE"
    request = build(ec_key(), RequestSpec(typed))
    printed = subprocess.run(
        [OPENSSL, "req", "-noout", "-subject", *options],
        input=request.public_bytes(Encoding.PEM),
        capture_output=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "OPENSSL_CONF": "/dev/null"},
    ).stdout.decode()
    if options == ("-nameopt", "RFC2253"):
        printed = printed.removeprefix("subject=").rstrip("\n")
    assert parse_subject(printed) == request.subject


def test_what_is_shown_in_openssl_s_order_is_read_again() -> None:
    shown = dict(preview(FULL))
    assert shown["OpenSSL"].startswith("serialNumber = A-17/3, C = DE, ST = Thüringen")
    assert shown["RFC 4514"].startswith("CN=gateway-1,OU=Line 2,O=Muster GmbH")
    assert parse_subject(shown["OpenSSL"]) == parse_subject(shown["RFC 4514"])
    assert parse_subject(shown["OpenSSL"]) == parse_subject(FULL.subject)


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(st.text(st.sampled_from('CNOE=, +/\\"ab#;<ü.1x'), max_size=40))
def test_whatever_is_pasted_is_an_answer(text: str) -> None:
    with contextlib.suppress(ConsoleError):
        parsed = parse_subject(text)
        assert parse_subject(subject_text(parsed)) == parsed
        assert parse_subject(openssl_text(parsed)) == parsed


def test_a_hostile_subject_takes_no_time() -> None:
    begin = time.process_time()
    for unit in ("/", "\\", '"', "=", ",", "CN=", "/CN=", 'CN = "', "+a=", " ", "OID.1."):
        with contextlib.suppress(ConsoleError):
            parse_subject((unit * 2048)[:2048])
    assert time.process_time() - begin < 2


def test_printable_strings_are_those_of_a_ca_that_compares_bytes() -> None:
    spec = RequestSpec("CN=gateway,O=Example,C=DE,emailAddress=o@e.com", string_type="printable")
    request = build(ec_key(), spec)
    der = request.subject.public_bytes()
    assert b"\x13\x07Example" in der
    assert b"\x13\x07gateway" in der
    assert b"\x16\x07o@e.com" in der
    assert b"\x0c\x07Example" in build(ec_key(), RequestSpec(spec.subject)).subject.public_bytes()
    assert spec_of(request) == RequestSpec(spec.subject, (), "client", "printable")
    assert ("String type", "PrintableString") in preview(spec)


@pytest.mark.parametrize("string_type", STRING_TYPES)
@pytest.mark.parametrize(
    "subject",
    [
        "CN=a,OU=b,O=c,C=DE",
        "/C=DE/O=c/OU=b/CN=a",
        "/CN=a/OU=b/O=c/C=DE",
        "C = DE, O = c, CN = a",
        "O=c,CN=a,C=DE",
        "CN=a,serialNumber=1,O=c",
        "serialNumber=1,CN=a,O=c",
        "CN=a+OU=b,DC=example,DC=com",
    ],
)
def test_a_form_keeps_the_order_and_the_encoding(subject: str, string_type: str) -> None:
    spec = RequestSpec(subject, ("dns:a",), "both", string_type)
    again = spec_of_form(dict.fromkeys((*FORM_FIELDS, "subject"), "") | form_values(spec))
    asked = [build(ec_key(), one).subject.public_bytes() for one in (spec, again)]
    assert asked[0] == asked[1]
    assert (again.san, again.role) == (spec.san, spec.role)


def test_the_order_as_typed_is_the_order_in_the_request() -> None:
    """RFC 4514 begins with the last one of the encoding; OpenSSL with the first."""
    orders = {
        "/C=DE/O=c/CN=a": ["C", "O", "CN"],
        "/CN=a/O=c/C=DE": ["CN", "O", "C"],
        "C = DE, CN = a, O = c": ["C", "CN", "O"],
        "CN=a,O=c,C=DE": ["C", "O", "CN"],
        "O=c,CN=a": ["CN", "O"],
    }
    for typed, order in orders.items():
        subject = build(ec_key(), RequestSpec(typed)).subject
        assert [field_name(one.oid) for one in subject] == order
        shown = dict(preview(RequestSpec(typed)))
        assert [part[: part.index("=")] for part in shown["RFC 4514"].split(",")] == order[::-1]
        assert [part[: part.index(" =")] for part in shown["OpenSSL"].split(", ")] == order


@pytest.mark.parametrize("subject", ["CN=Müller", "CN=a*b", "CN=a,O=a&b", "CN=a_b", "CN=a@b"])
def test_what_no_printable_string_holds_is_refused(subject: str) -> None:
    with pytest.raises(ConsoleError, match="not allowed in PrintableString"):
        build(ec_key(), RequestSpec(subject, string_type="printable"))


def test_openssl_ca_takes_it_by_policy_match(tmp_path: Path) -> None:
    """A CA of long ago with PrintableString: the same request in UTF-8 is refused."""
    (tmp_path / "db").write_text("")
    (tmp_path / "conf").write_text(
        f"""
        [ca]
        default_ca = d
        [d]
        database = {tmp_path}/db
        new_certs_dir = {tmp_path}
        rand_serial = yes
        default_md = sha256
        default_days = 9
        policy = p
        [p]
        organizationName = match
        commonName = supplied
        [req]
        distinguished_name = n
        string_mask = default
        [n]
        """
    )
    settings_ = {"PATH": "/usr/bin:/bin", "OPENSSL_CONF": str(tmp_path / "conf")}
    key, crt = str(tmp_path / "ca.key"), str(tmp_path / "ca.pem")
    ca = ["-keyout", key, "-out", crt, "-subj", "/O=Example/CN=CA"]
    subprocess.run([OPENSSL, "req", "-x509", "-nodes", "-newkey", "rsa:2048", *ca],
                   capture_output=True, check=True, env=settings_)  # fmt: skip
    said = {}
    for kind in STRING_TYPES:
        path = tmp_path / f"{kind}.csr"
        spec = RequestSpec("CN=gateway,O=Example", string_type=kind)
        path.write_bytes(build(ec_key(), spec).public_bytes(Encoding.PEM))
        files = ["-keyfile", key, "-cert", crt, "-in", str(path)]
        done = subprocess.run([OPENSSL, "ca", "-batch", "-notext", *files],
                              capture_output=True, check=False, env=settings_)  # fmt: skip
        said[kind] = (done.returncode == 0, done.stderr.decode())
    assert said["printable"][0]
    assert not said["utf8"][0]
    assert "organizationName field is different between" in said["utf8"][1]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("gateway", "'gateway' is not FIELD=value"),
        ("/gateway", "not FIELD=value"),
        ("/XX=1/CN=a", "there is no field 'XX'"),
        ("C = Germany, CN = a", "C is 'Germany'"),
        ("CN = , O = b", "CN is empty"),
        ("CN=gateway,Muster", "'Muster' is not FIELD=value"),
        ("CN=gateway,XX=1", "there is no field 'XX'"),
        ("CN=", "CN is empty"),
        ("CN= ", "meaning|empty"),
        ("O=,CN=a", "O is empty"),
        ("CN=a,C=Germany", "C is 'Germany'"),
        ("CN=a,C=de", "C is 'de'"),
        ("CN=a,C=D1", "C is 'D1'"),
        ("CN=" + "x" * 65, "CN has 65 characters, more than 64"),
        ("CN=a,O=" + "x" * 65, "O has 65 characters, more than 64"),
        ("CN=a,L=" + "x" * 129, "L has 129 characters"),
        ("CN=a,serialNumber=ü", "serialNumber allows only"),
        ("CN=a,emailAddress=ü@x", "emailAddress allows only ASCII"),
        ("CN=a,CN=b", "CN is given twice"),
        ("CN=a\nb", "control character|meaning"),
        ("CN=a\x1b[31m", "control character"),
        ("CN=a<b", "special character"),
        ("CN=a;O=b", "special character"),
        ("CN=\ud800", "."),
        ("CN=a," * 1000, "more than 2048"),
        ("CN=a," * 100 + "CN=b", "CN is given twice"),
        ('CN="a"', "special character"),
        ("CN=#04", "."),
        (r"CN=\ff", "."),
    ],
)
def test_bad_subjects(text: str, cause: str) -> None:
    with pytest.raises(ConsoleError, match=cause) as caught:
        build(ec_key(), RequestSpec(text))
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.cause.isprintable()


@pytest.mark.parametrize(
    "entry",
    [
        "dns:gateway",
        "DNS:gateway.local",
        "dns:*.example.com",
        "dns:xn--mnchen-3ya.example",
        "dns:1and1.com",
        "ip:127.0.0.1",
        "ip:::1",
        "uri:https://gateway.local:8443/a?b=c",
        "uri:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "email:a.b+c@example.com",
    ],
)
def test_alternative_names(entry: str) -> None:
    kind, _, value = entry.partition(":")
    assert san_entry(parse_san([entry, entry])[0]) == f"{kind.lower()}:{value}"
    assert len(parse_san([entry, entry])) == 1


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("gateway.local", "must start with one of"),
        ("rid:1.2.3", "must start with one of"),
        ("dns:", "letters, digits"),
        ("dns:a..b", "letters, digits"),
        ("dns:a_b.local", "letters, digits"),
        ("dns:-a.local", "letters, digits"),
        ("dns:a.local.", "letters, digits"),
        ("dns:a b", "letters, digits"),
        ("dns:*", "letters, digits"),
        ("dns:a.*.b", "letters, digits"),
        ("dns:" + "a" * 64, "letters, digits"),
        ("dns:" + "a." * 127 + "b", "253 characters"),
        ("dns:192.0.2.7", "ip:192.0.2.7"),
        ("dns:münchen.example", "dns:xn--mnchen-3ya.example"),
        ("ip:300.1.1.1", "not an IP address"),
        ("ip:10.0.0.0/8", "not an IP address"),
        ("ip:gateway", "not an IP address"),
        ("ip:fe80::1%eth0", "interface"),
        ("uri:gateway", "scheme"),
        ("uri:https:", "scheme"),
        ("uri:https://ü/", "ASCII"),
        ("uri:https://a b", "spaces"),
        ("uri:http://[", "not a URI"),
        ("uri:x:" + "a" * 3000, "2048"),
        ("email:nobody", "not an ASCII e-mail"),
        ("email:a@", "not an ASCII e-mail"),
        ("email:ü@example.com", "not an ASCII e-mail"),
        ("dns:" + "x" * 10_000_000, "253 characters"),
    ],
)
def test_bad_alternative_names(entry: str, said: str) -> None:
    with pytest.raises(ConsoleError) as caught:
        parse_san([entry])
    assert said in f"{caught.value.cause} {caught.value.remedy}"
    assert caught.value.exit_code == ExitCode.USAGE
    assert len(caught.value.cause) < 300


def test_too_many_names() -> None:
    with pytest.raises(ConsoleError, match="more than 100"):
        parse_san(f"dns:h{number}" for number in range(101))


def test_unknown_role() -> None:
    for ask in (lambda s: build(ec_key(), s), preview):
        with pytest.raises(ConsoleError, match="there is no role 'boss'"):
            ask(RequestSpec("CN=a", (), "boss"))


def test_preview_says_all_of_it() -> None:
    shown = preview(FULL)
    assert shown[:2] == [("CN", "gateway-1"), ("OU", "Line 2")]
    assert ("SAN", "ip:2001:db8::7") in shown
    assert shown[-1] == ("Extended usage", "clientAuth, serverAuth")


def test_preview_warns_of_a_nameless_server() -> None:
    for san, warned in (((), True), (("email:a@b.c",), True), (("dns:a",), False)):
        values = [value for label, value in preview(RequestSpec("CN=a", san, "server"))]
        assert any("clients cannot check" in value for value in values) == warned
