"""Which certificate issued which: names and key identifiers, compared as OpenSSL does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from support.openssl_verify import OPENSSL, refusal
from support.pki import NOW, Extra, Signer, ca, ec_key, leaf, pem

from tpmconsole.x509.judge import Judgement, judge
from tpmconsole.x509.links import is_self_signed, same_name

ROOT = ca("Root")
SUB = ca("Issuing CA", ROOT)
STRANGER = ca("Stranger")


@dataclass(frozen=True)
class Given:
    own: Signer
    others: Sequence[Signer] = ()
    trust: Sequence[Signer] = (ROOT,)

    def judge(self, role: str) -> Judgement:
        return judge(
            [one.certificate for one in (self.own, *self.others)],
            public_key=self.own.key.public_key(),
            trust=[one.certificate for one in self.trust],
            role=role,
            now=NOW,
        )

    def openssl(self, role: str) -> str | None:
        others, trust = (
            pem(*(one.certificate for one in some)) for some in (self.others, self.trust)
        )
        return refusal(self.own.pem, others, trust, role, NOW)


def _key_id(signer: Signer) -> Extra:
    named = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    return Extra(x509.AuthorityKeyIdentifier, named)


def _by_serial(above: Signer, number: int | None = None, issuer: Signer = ROOT) -> Extra:
    """As OpenSSL's ``authorityKeyIdentifier = issuer:always`` writes it."""
    serial = above.certificate.serial_number if number is None else number
    names = [x509.DirectoryName(issuer.certificate.subject)]
    named = x509.AuthorityKeyIdentifier(None, names, serial)
    return Extra(x509.AuthorityKeyIdentifier, named)


def _two_of_one_key() -> Given:
    """The CA was renewed with its key; the leaf names the older one's serial number."""
    key = ec_key()
    old, new = ca("Renewed", ROOT, key=key), ca("Renewed", ROOT, key=key, begin=NOW)
    return Given(leaf(old, _by_serial(old)), [new, old])


NAMED: dict[str, tuple[Callable[[], Given], str]] = {
    # What is given, and what the verdict on key identifiers has to be.
    "its CA's key": (lambda: Given(leaf(SUB), [SUB]), "ok"),
    "its CA's issuer and serial": (lambda: Given(leaf(SUB, _by_serial(SUB)), [SUB]), "ok"),
    "one of two of its CA's key": (_two_of_one_key, "ok"),
    "a key, of a CA that names none": (
        lambda: Given(
            leaf(bare := ca("Bare", ROOT, Extra(x509.SubjectKeyIdentifier, None))), [bare]
        ),
        "warn",
    ),
    "another key": (lambda: Given(leaf(SUB, _key_id(STRANGER)), [SUB]), "fail"),
    "another key, by the root": (lambda: Given(leaf(ROOT, _key_id(STRANGER))), "fail"),
    "another serial number": (lambda: Given(leaf(SUB, _by_serial(SUB, 7)), [SUB]), "fail"),
    "another issuer": (
        lambda: Given(leaf(SUB, _by_serial(SUB, issuer=STRANGER)), [SUB]),
        "fail",
    ),
    "another key, by an intermediate": (
        lambda: Given(leaf(odd := ca("Odd", ROOT, _key_id(STRANGER))), [odd]),
        "fail",
    ),
    # Trusted as it is by -partial_chain; and reported as not a root.
    "another key, by the anchor itself": (
        lambda: Given(leaf(odd := ca("Odd", None, _key_id(STRANGER))), trust=[odd]),
        "ok",
    ),
}


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize(
    ("make", "state"), [pytest.param(*row, id=key) for key, row in NAMED.items()]
)
def test_the_key_that_is_named_is_the_cas(make: Callable[[], Given], state: str, role: str) -> None:
    given = make()
    judgement = given.judge(role)
    said = {one.name: one for one in judgement.verdicts}
    verdict = said["authority-key-identifier"]
    assert verdict.state == state, verdict.text
    assert judgement.acceptable == (state != "fail")
    if state == "fail":
        assert "names another key" in verdict.text
        assert said["chain"].text == verdict.text
    if OPENSSL:
        assert (given.openssl(role) is None) == judgement.acceptable


def test_an_anchor_that_names_another_key_is_no_root() -> None:
    odd = ca("Odd", None, _key_id(STRANGER))
    assert not is_self_signed(odd.certificate)
    verdicts = Given(leaf(odd), trust=[odd]).judge("client").verdicts
    assert "is not a root" in next(one.text for one in verdicts if one.name == "trust")


def test_an_anchor_whose_root_is_trusted_as_well_is_fine() -> None:
    """OpenSSL continues to the root if the store has both."""
    root = ca("Root")
    middle = ca("Middle", root)
    lower = ca("Lower", middle)
    own = leaf(lower)
    for trust, state in (
        ([lower, middle, root], "ok"),
        ([root, middle, lower], "ok"),
        ([lower, middle], "warn"),
        ([lower, root], "warn"),
        ([lower, ca("Other")], "warn"),
    ):
        given = Given(own, trust=trust)
        said = {one.name: one for one in given.judge("client").verdicts}
        assert (said["trust"].state, said["chain"].state) == (state, "ok"), trust


def test_a_stranger_of_the_same_name_is_told_as_one() -> None:
    verdicts = Given(leaf(SUB), [ca("Issuing CA", ROOT)]).judge("client").verdicts
    text = next(one.text for one in verdicts if one.name == "chain")
    assert "the certificate of 'CN=Issuing CA,O=Test'" in text or "not signed with" in text


# Names


def _name(common: str, kind: _ASN1Type | None = None, organization: str = "Test") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization, kind),
            x509.NameAttribute(NameOID.COMMON_NAME, common, kind),
        ]
    )


SPELLINGS: dict[str, x509.Name] = {
    "another string type": _name("Issuing CA", _ASN1Type.PrintableString),
    "a wide string type": _name("Issuing CA", _ASN1Type.BMPString),
    "capitals": _name("ISSUING ca"),
    "spaces within": _name("Issuing   CA"),
    "spaces around": _name(" Issuing CA "),
    "all of it": _name("issuing  CA", _ASN1Type.BMPString, "TEST "),
}


@pytest.mark.parametrize("written", [pytest.param(one, id=key) for key, one in SPELLINGS.items()])
@pytest.mark.parametrize("role", ["client", "server"])
def test_a_name_in_another_spelling_is_the_same(written: x509.Name, role: str) -> None:
    """RFC 5280, 7.1; and who compares bytes refuses it, which is said."""
    given = Given(leaf(SUB, issuer_as=written), [SUB])
    judgement = given.judge(role)
    (warned,) = [one for one in judgement.verdicts if one.state != "ok"]
    assert (warned.name, warned.state) == ("chain", "warn")
    assert "in another way" in warned.text
    assert "Go and other strict peers refuse it" in warned.text
    if OPENSSL:
        assert given.openssl(role) is None


@pytest.mark.parametrize("above", [True, False], ids=["intermediate", "leaf"])
def test_at_the_anchor_too(above: bool) -> None:
    written = _name("ROOT", _ASN1Type.PrintableString)
    sub = ca("Sub", ROOT, issuer_as=written)
    given = Given(leaf(sub), [sub]) if above else Given(leaf(ROOT, issuer_as=written))
    warned = [one.name for one in given.judge("client").verdicts if one.state == "warn"]
    assert warned == ["chain"]


@pytest.mark.parametrize(
    "other",
    [_name("Issuing-CA"), _name("IssuingCA"), _name("Issuing CA", organization="Tset"),
     _name("Íssuing CA")],
)  # fmt: skip
def test_other_names_are_others(other: x509.Name) -> None:
    assert not same_name(other, _name("Issuing CA"))
    given = Given(leaf(SUB, issuer_as=other), [SUB])
    assert not given.judge("client").acceptable
    if OPENSSL:
        assert given.openssl("client") is not None


def test_only_ascii_is_folded() -> None:
    """As OpenSSL does, which leaves capitals beyond ASCII as they are."""
    assert not same_name(_name("MÜLLER"), _name("müller"))
    assert same_name(_name("MüLLER"), _name("müller"))
