"""What x509-limbo found about our judge, made here by kind; ``openssl verify`` judges each too.

``make limbo`` runs limbo's own cases, which this repository does not contain.
"""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtensionOID, NameOID, ObjectIdentifier
from support.openssl_verify import OPENSSL, refusal
from support.pki import DAY, NOW, Extra, Signer, ca, ec_key, key_pem, leaf, name, pem, rsa_key

from tpmconsole.x509 import der
from tpmconsole.x509.judge import Judgement, judge

ROOT = ca("Root")
SUB = ca("Sub", ROOT)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Given:
    own: Signer
    others: Sequence[Signer] = ()
    trust: Sequence[Signer] = (ROOT,)
    good: bool = False
    when: datetime = NOW

    def judge(self, role: str) -> Judgement:
        return judge(
            [one.certificate for one in (self.own, *self.others)],
            public_key=self.own.certificate.public_key(),
            trust=[one.certificate for one in self.trust],
            role=role,
            now=self.when,
        )

    def openssl(self, judgement: Judgement, role: str) -> str | None:
        """OpenSSL's verdict on what we would send; only if we would send it."""
        others = [one.certificate for one in self.others]
        if judgement.acceptable:
            others = list(judgement.chain[1:])
        trust = pem(*(one.certificate for one in self.trust))
        return refusal(self.own.pem, pem(*others), trust, role, self.when)


def _both_judges(given: Given) -> list[str]:
    """Both say the same in both roles; what we say against it."""
    for role in ("client", "server"):
        judgement = given.judge(role)
        said = [one.text for one in judgement.verdicts if one.state == "fail"]
        assert judgement.acceptable == given.good, said
        if OPENSSL:
            theirs = given.openssl(judgement, role)
            assert (theirs is None) == given.good, theirs
    return said


def _below(signer: Signer, *, good: bool = False) -> Given:
    return Given(leaf(signer), [signer], good=good)


# Critical extensions


def _extension(oid: str, value: bytes = b"\x05\x00", *, critical: bool = True) -> Extra:
    raw = x509.UnrecognizedExtension(ObjectIdentifier(oid), value)
    return Extra(x509.UnrecognizedExtension, raw, critical)


def _critical(value: x509.ExtensionType) -> Extra:
    return Extra(type(value), value, critical=True)


UNKNOWN = _extension("1.3.6.1.4.1.55555.1")
_OWN = x509.SubjectKeyIdentifier(b"12345678901234567890")
_ACCESS = x509.AuthorityInformationAccess(
    [x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.OCSP,
                            x509.UniformResourceIdentifier("http://ocsp.local/"))]
)  # fmt: skip
_POINT = x509.DistributionPoint(
    [x509.UniformResourceIdentifier("http://crl.local/")], None, None, None
)
_POLICY = x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier("1.2.3.4"), None)])

CRITICAL: dict[str, Callable[[], Given]] = {
    "unknown, of the leaf": lambda: Given(leaf(ROOT, UNKNOWN)),
    "unknown, of an intermediate": lambda: _below(ca("Odd", ROOT, UNKNOWN)),
    "unknown, of the anchor": lambda: Given(
        leaf(odd := ca("Odd", None, UNKNOWN)), trust=[odd]
    ),
    "unknown, of an anchor beside": lambda: Given(
        leaf(ROOT), trust=[ca("Odd", None, UNKNOWN), ROOT], good=True
    ),
    "unknown, and not critical": lambda: Given(
        leaf(ROOT, _extension("1.3.6.1.4.1.55555.1", critical=False)), good=True
    ),
    "the leaf's authority key identifier": lambda: Given(
        leaf(ROOT, _critical(x509.AuthorityKeyIdentifier.from_issuer_public_key(
            ROOT.key.public_key())))
    ),
    "the root's authority key identifier": lambda: Given(
        leaf(odd := ca("Odd", None, _critical(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((key := ec_key()).public_key())),
            key=key)), trust=[odd]
    ),
    "the leaf's subject key identifier": lambda: Given(leaf(ROOT, _critical(_OWN))),
    "where to ask for its status": lambda: Given(leaf(ROOT, _critical(_ACCESS))),
    "where to ask, malformed": lambda: Given(
        leaf(ROOT, _extension(ExtensionOID.ISSUER_ALTERNATIVE_NAME.dotted_string, b"\x30\x00"))
    ),
    "where its revocation list is": lambda: Given(
        leaf(ROOT, _critical(x509.CRLDistributionPoints([_POINT]))), good=True
    ),
    "policies": lambda: Given(leaf(ROOT, _critical(_POLICY)), good=True),
    "constraints of policies": lambda: _below(
        ca("Policies", ROOT, _critical(x509.PolicyConstraints(1, None))), good=True
    ),
    "no policy at all": lambda: _below(
        ca("Policies", ROOT, _critical(x509.InhibitAnyPolicy(0))), good=True
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", [pytest.param(one, id=key) for key, one in CRITICAL.items()])
def test_a_critical_extension_is_known_or_refused(make: Callable[[], Given]) -> None:
    given = make()
    said = _both_judges(given)
    assert given.good or "critical extension" in said[0]


@pytest.mark.parametrize(
    ("bits", "clients", "servers"),
    [(b"\x03\x02\x07\x80", True, False), (b"\x03\x02\x06\x40", False, True),
     (b"\x03\x02\x06\xc0", True, True), (b"\x03\x02\x05\x20", False, False)],
)  # fmt: skip
def test_netscapes_certificate_type(bits: bytes, clients: bool, servers: bool) -> None:
    """As easy-rsa wrote it for years."""
    given = Given(leaf(ROOT, _extension("2.16.840.1.113730.1.1", bits, critical=False)))
    for role, good in (("client", clients), ("server", servers)):
        judgement = given.judge(role)
        assert judgement.acceptable == good
        if OPENSSL:
            assert (given.openssl(judgement, role) is None) == good


@pytest.mark.parametrize(
    "damage",
    [_extension("1.3.6.1.5.5.7.1.1", b"\x30\x03\x02\x01", critical=False),  # cut off
     _extension("2.5.29.30", b"\x30\x00", critical=False),  # constraints without any
     _extension("2.5.29.17", b"\x05\x00", critical=False)],
)  # fmt: skip
def test_what_cryptography_does_not_read_is_a_verdict(damage: Extra) -> None:
    """Not an exception, wherever it is in the file and whichever parser read the file."""
    bare = Extra(x509.SubjectAlternativeName, None)
    odd = leaf(ROOT, damage, bare)
    for given in (Given(odd), Given(leaf(ROOT), [odd]), Given(leaf(ROOT), trust=[ROOT, odd])):
        (verdict,) = given.judge("client").verdicts
        assert (verdict.name, verdict.state) == ("readable", "fail")
        assert "damaged or unusual" in verdict.text


# Keys and signatures


def _with_explicit_curve(signer: Signer, issuer: Signer, folder: Path) -> Signer:
    """The same certificate, with every parameter of the curve in its key."""
    (folder / "key").write_bytes(key_pem(signer.key))
    done = subprocess.run(
        [OPENSSL or "", "pkey", "-in", "key", "-pubout", "-ec_param_enc", "explicit",
         "-outform", "DER"],
        cwd=folder, capture_output=True, check=True,
    )  # fmt: skip
    (signed,) = der.elements(signer.certificate.tbs_certificate_bytes)
    fields = [one.whole for one in der.elements(signed.content)]
    fields[6] = done.stdout
    body = _sequence(*fields)
    signature = issuer.key.sign(body, ec.ECDSA(hashes.SHA256()))
    whole = _sequence(body, fields[2], _wrapped(0x03, b"\0" + signature))
    return Signer(x509.load_der_x509_certificate(whole), signer.key)


def _sequence(*parts: bytes) -> bytes:
    return _wrapped(0x30, b"".join(parts))


def _wrapped(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


@pytest.mark.skipif(OPENSSL is None, reason="openssl writes such keys")
@pytest.mark.parametrize("which", ["leaf", "intermediate"])
def test_a_curve_has_a_name(which: str, tmp_path: Path) -> None:
    """CVE-2020-0601: with parameters of its own a curve may pass for another."""
    if which == "leaf":
        given = Given(_with_explicit_curve(leaf(ROOT), ROOT, tmp_path))
    else:
        given = _below(_with_explicit_curve(ca("Odd", ROOT), ROOT, tmp_path))
    assert "spells out its curve" in _both_judges(given)[0]


def test_sha3_is_verified_by_nobody_but_with_rsa() -> None:
    sha3 = hashes.SHA3_256()
    root = ca("SHA-3 Root", signed_with=sha3)
    _both_judges(Given(leaf(root), trust=[root], good=True))  # an anchor is trusted, not proved
    judgement = Given(leaf(root, signed_with=sha3), trust=[root]).judge("client")
    (failed,) = [one for one in judgement.verdicts if one.state == "fail"]
    assert "ECDSA and SHA3-256, which OpenSSL 3.0" in failed.text
    root = ca("RSA Root", key=rsa_key(), signed_with=sha3)
    given = Given(leaf(root, signed_with=sha3), trust=[root], good=True)
    _both_judges(given)
    assert "warn" in {one.state for one in given.judge("client").verdicts}


def test_no_longer_hash_is_taken_for_sha3() -> None:
    for algorithm in (hashes.SHA384(), hashes.SHA512(), hashes.SHA224()):
        _both_judges(Given(leaf(ROOT, signed_with=algorithm), good=True))


@pytest.mark.parametrize(
    ("key", "words"),
    [(ed25519.Ed25519PrivateKey.generate(), "(Ed25519)"),
     (ec_key(ec.BrainpoolP256R1()), "(a curve other than")],
)  # fmt: skip
def test_what_strict_peers_refuse_is_told_in_words(key: object, words: str) -> None:
    root = ca("Odd", key=key)
    given = Given(leaf(root), trust=[root], good=True)
    _both_judges(given)
    (text,) = [one.text for one in given.judge("server").verdicts if one.state == "warn"]
    assert words in text
    assert "{" not in text


# Dates


@pytest.mark.parametrize("who", ["leaf", "intermediate", "root"])
@pytest.mark.parametrize(
    ("begin", "end", "good"),
    [
        (NOW - DAY, NOW, False),  # its last second is over for OpenSSL
        (NOW - DAY, NOW - SECOND, False),
        (NOW - DAY, NOW + SECOND, True),
        (NOW, NOW + DAY, True),
        (NOW + SECOND, NOW + DAY, False),
    ],
)
def test_to_the_second(who: str, begin: datetime, end: datetime, good: bool) -> None:
    root = ca("R", begin=begin, end=end) if who == "root" else ca("R", end=NOW + 2 * DAY)
    sub = ca("S", root, begin=begin, end=end) if who == "intermediate" else ca("S", root)
    own = leaf(sub, begin=begin, end=end) if who == "leaf" else leaf(sub)
    _both_judges(Given(own, [sub], [root], good))


# Path length


def _length(number: int) -> Extra:
    return Extra(x509.BasicConstraints, x509.BasicConstraints(True, number), critical=True)


def _renewing_itself(number: int, times: int, *below: str) -> Given:
    """A CA with a path length, then its own name again with other keys, then CAs below."""
    chain = [ca("Same", ROOT, _length(number))]
    for _ in range(times):
        chain.append(ca("Same", chain[-1]))
    for common in below:
        chain.append(ca(common, chain[-1]))
    return Given(leaf(chain[-1]), chain, good=len(below) <= number)


@pytest.mark.parametrize(
    ("number", "times", "below"),
    [(0, 1, ()), (0, 2, ()), (1, 1, ("One",)), (0, 1, ("One",)), (1, 2, ("One", "Two")),
     (0, 0, ()), (0, 0, ("One",))],
)  # fmt: skip
def test_a_ca_that_renews_its_own_name_is_not_counted(
    number: int, times: int, below: tuple[str, ...]
) -> None:
    _both_judges(_renewing_itself(number, times, *below))


# Constraints on names


def _dir(common: str, kind: _ASN1Type | None = None) -> x509.DirectoryName:
    return x509.DirectoryName(
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, common, kind)])
    )


def _net(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(text))


def _ip(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


DNS, MAIL, URI = x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier
_OTHER = x509.OtherName(ObjectIdentifier("1.2.3.4"), b"\x05\x00")

# Name, constraint, whether the name lies within it.
WITHIN: list[tuple[x509.GeneralName, x509.GeneralName, bool]] = [
    (DNS("gw.example.com"), DNS("example.com"), True),
    (DNS("example.com"), DNS("EXAMPLE.com"), True),
    (DNS("gwexample.com"), DNS("example.com"), False),
    (DNS("gw.example.com"), DNS("gw.example.com"), True),
    (DNS("example.com"), DNS("gw.example.com"), False),
    (DNS("gw.example.com"), DNS(""), True),
    (DNS("*.example.com"), DNS("example.com"), True),
    (DNS("gw.example.com"), DNS(".example.com"), True),
    (DNS("example.com"), DNS(".example.com"), False),
    (_ip("192.0.2.7"), _net("192.0.2.0/24"), True),
    (_ip("192.0.3.7"), _net("192.0.2.0/24"), False),
    (_ip("192.0.2.7"), _net("0.0.0.0/0"), True),
    (_ip("fe80::1"), _net("fe80::/10"), True),
    (_ip("2001:db8::1"), _net("fe80::/10"), False),
    (_ip("192.0.2.7"), _net("::/0"), False),
    (MAIL("ops@example.com"), MAIL("ops@example.com"), True),
    (MAIL("ops@EXAMPLE.com"), MAIL("ops@example.com"), True),
    (MAIL("Ops@example.com"), MAIL("ops@example.com"), False),
    (MAIL("ops@example.com"), MAIL("example.com"), True),
    (MAIL("ops@gw.example.com"), MAIL("example.com"), False),
    (MAIL("ops@gw.example.com"), MAIL(".example.com"), True),
    (MAIL("ops@example.com"), MAIL(".example.com"), False),
    (MAIL("*@example.com"), MAIL("*@example.com"), True),
    (MAIL("ops@example.com"), MAIL("*@example.com"), False),
    (URI("https://gw.example.com/a"), URI("gw.example.com"), True),
    (URI("https://gw.example.com:8443/a"), URI("gw.example.com"), True),
    (URI("https://gw.example.com/a"), URI(".example.com"), True),
    (URI("https://gw.example.com/a"), URI("example.com"), False),
    (URI("https://example.com/a"), URI(".example.com"), False),
]


@pytest.mark.parametrize(("asked", "limit", "within"), WITHIN, ids=repr)
@pytest.mark.parametrize("excluded", [False, True], ids=["permitted", "excluded"])
def test_names_and_constraints(
    asked: x509.GeneralName, limit: x509.GeneralName, within: bool, excluded: bool
) -> None:
    limits = x509.NameConstraints(*((None, [limit]) if excluded else ([limit], None)))
    given = Given(
        leaf(sub := ca("Limits", ROOT, _critical(limits)), san=[asked]),
        [sub],
        good=within is not excluded,
    )
    said = _both_judges(given)
    assert given.good or "the name constraints of the CA 'CN=Limits,O=Test'" in said[0]


@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        (MAIL("no-address"), MAIL("example.com")),
        (URI("urn:dev:mac:0024befffe804ff1"), URI("example.com")),
        (_OTHER, _OTHER),
    ],
    ids=repr,
)
def test_what_cannot_be_compared_is_refused(
    asked: x509.GeneralName, limit: x509.GeneralName
) -> None:
    limits = x509.NameConstraints([limit], None)
    sub = ca("Limits", ROOT, _critical(limits))
    _both_judges(Given(leaf(sub, san=[DNS("gateway.local"), asked]), [sub]))


@pytest.mark.parametrize(
    "limits",
    [
        x509.NameConstraints([MAIL("example.com")], None),
        x509.NameConstraints(None, [_net("192.0.2.0/24")]),
        x509.NameConstraints([_OTHER], None),
    ],
    ids=repr,
)
def test_constraints_on_other_kinds_of_names_say_nothing(limits: x509.NameConstraints) -> None:
    sub = ca("Limits", ROOT, _critical(limits))
    _both_judges(Given(leaf(sub), [sub], good=True))


@pytest.mark.parametrize(
    ("limit", "good"),
    [(_dir("Test"), True), (_dir("TEST", _ASN1Type.PrintableString), True), (_dir("Tes"), False),
     (x509.DirectoryName(name("gateway")), True), (x509.DirectoryName(name("other")), False)],
    ids=repr,
)  # fmt: skip
def test_directory_names(limit: x509.DirectoryName, good: bool) -> None:
    sub = ca("Limits", ROOT, _critical(x509.NameConstraints([limit], None)))
    _both_judges(Given(leaf(sub), [sub], good=good))
    excluding = ca("Limits", ROOT, _critical(x509.NameConstraints(None, [limit])))
    _both_judges(Given(leaf(excluding), [excluding], good=not good))


def test_an_intermediate_is_held_to_them_as_well_unless_it_renews_itself() -> None:
    limit = _critical(x509.NameConstraints(None, [x509.DirectoryName(name("Below"))]))
    above = ca("Limits", ROOT, limit)
    below = ca("Below", above)
    _both_judges(Given(leaf(below), [below, above]))
    itself = _critical(x509.NameConstraints(None, [x509.DirectoryName(name("Limits"))]))
    old = ca("Limits", ROOT, itself)
    new = ca("Limits", old)
    _both_judges(Given(leaf(new), [new, old], good=True))


@pytest.mark.parametrize(
    ("common", "good"),
    [("gw.example.com", True), ("gw.example.org", False), ("My Gateway", True), ("gateway", True)],
)
def test_a_common_name_counts_where_there_is_no_dns_name(common: str, good: bool) -> None:
    sub = ca("Limits", ROOT, _critical(x509.NameConstraints([DNS("example.com")], None)))
    _both_judges(Given(leaf(sub, san=[], common=common), [sub], good=good))


@pytest.mark.parametrize(
    ("kind", "address", "good"),
    [(_ASN1Type.IA5String, "ops@example.com", True), (_ASN1Type.IA5String, "ops@else.org", False),
     (_ASN1Type.UTF8String, "ops@example.com", False)],
)  # fmt: skip
def test_an_address_in_the_subject(kind: _ASN1Type, address: str, good: bool) -> None:
    sub = ca("Limits", ROOT, _critical(x509.NameConstraints([MAIL("example.com")], None)))
    subject = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, address, kind)])
    _both_judges(Given(leaf(sub, subject=subject), [sub], good=good))


def test_of_two_ways_the_one_whose_constraints_allow_it_is_taken() -> None:
    key = ec_key()
    limits = _critical(x509.NameConstraints([DNS("example.org")], None))
    newer = ca("Twice", ROOT, limits, key=key, begin=NOW - SECOND)
    older = ca("Twice", ROOT, key=key)
    given = Given(leaf(older), [newer, older], good=True)
    _both_judges(given)
    assert older.certificate in given.judge("client").chain
    _both_judges(Given(leaf(older), [newer]))


def test_an_anchor_is_taken_for_an_intermediate_of_its_name() -> None:
    """Without key identifiers OpenSSL cannot tell them apart, and looks among the anchors first."""
    bare = Extra(x509.AuthorityKeyIdentifier, None)
    twin = ca("Sub")
    _both_judges(Given(leaf(SUB, bare), [SUB], good=True))
    said = _both_judges(Given(leaf(SUB, bare), [SUB], [ROOT, twin]))
    assert "does not say which key" in said[0]
    _both_judges(Given(leaf(SUB), [SUB], [ROOT, twin], good=True))
    over = ca("Sub", begin=NOW - 9 * DAY, end=NOW - DAY)
    assert Given(leaf(SUB, bare), [SUB], [ROOT, over]).judge("client").acceptable


def test_a_root_that_is_not_trusted_leads_nowhere() -> None:
    """Nor to another certificate of its own key, even if only that one is trusted."""
    key = ec_key()
    old, new = ca("Renewed", key=key, begin=NOW - 9 * DAY), ca("Renewed", key=key)
    _both_judges(Given(leaf(old), [old], [new], good=True))
    number = old.certificate.serial_number
    names = [x509.DirectoryName(old.certificate.subject)]
    named = x509.AuthorityKeyIdentifier(None, names, number)
    _both_judges(Given(leaf(old, Extra(type(named), named)), [old], [new]))


@pytest.mark.parametrize("key", ["EC", "RSA"])
def test_a_ca_that_renews_its_name_without_key_identifiers(key: str) -> None:
    """OpenSSL treats it as a root, unless its key and its signature are of different kinds."""
    bare = [Extra(x509.AuthorityKeyIdentifier, None), Extra(x509.SubjectKeyIdentifier, None)]
    old = ca("Same", ROOT)
    new = ca("Same", old, *bare, key=rsa_key() if key == "RSA" else ec_key())
    _both_judges(Given(leaf(new), [new, old], good=key == "RSA"))


def test_too_much_to_compare_is_given_up() -> None:
    limits = x509.NameConstraints(None, [DNS(f"t{number}.test") for number in range(1100)])
    sub = ca("Limits", ROOT, _critical(limits))
    own = leaf(sub, san=[DNS(f"x{number}.local") for number in range(1100)])
    assert "too many names" in _both_judges(Given(own, [sub]))[0]
