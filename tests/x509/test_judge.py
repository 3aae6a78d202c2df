"""Good and bad certificates of every kind, and the verdicts on each.

Python's ``ssl`` is asked as well: what is acceptable here has to make a handshake there, what fails
here must not, and what draws no warning has to pass its strict mode, the default of Python 3.13.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import (
    ANY,
    CLIENT,
    DAY,
    NOW,
    SERVER,
    Extra,
    Key,
    Signer,
    ca,
    ec_key,
    handshake,
    leaf,
    rsa_key,
    usage,
)

from tpmconsole.x509.judge import Judgement, judge

ROOT = ca("Root")
INTERMEDIATE = ca("Intermediate", ROOT)
RSA_ROOT = ca("RSA Root", key=rsa_key())


@dataclass(frozen=True)
class Given:
    """A bundle, the certificate for our key in it, and the trusted certificates."""

    own: Signer
    others: Sequence[Signer] = ()
    trust: Sequence[Signer] = (ROOT,)
    role: str = "client"
    now: datetime = NOW
    key: Key | None = None
    handshake: bool = True  # False if ssl's clock differs, or ssl knows less than we do


@dataclass(frozen=True)
class Row:
    make: Callable[[], Given]
    fails: set[str] = field(default_factory=set)
    warns: set[str] = field(default_factory=set)


def _critical_unknown() -> Extra:
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")
    return Extra(x509.UnrecognizedExtension, x509.UnrecognizedExtension(oid, b"\x05\x00"), True)


def _length(number: int) -> Extra:
    return Extra(x509.BasicConstraints, x509.BasicConstraints(True, number), critical=True)


def _constrained(common: str, domain: str) -> Signer:
    limits = x509.NameConstraints([x509.DNSName(domain)], None)
    return ca(common, ROOT, Extra(x509.NameConstraints, limits, critical=True))


def _without(kind: type[x509.ExtensionType]) -> Extra:
    return Extra(kind, None)


def _usages(*oids: x509.ObjectIdentifier) -> Extra:
    return Extra(x509.ExtendedKeyUsage, x509.ExtendedKeyUsage(oids))


def _tampered() -> Given:
    good = leaf(ROOT)
    der = bytearray(good.certificate.public_bytes(Encoding.DER))
    der[-1] ^= 1
    return Given(Signer(x509.load_der_x509_certificate(bytes(der)), good.key))


def _self_signed_leaf() -> Given:
    own = ca(
        "gateway",
        None,
        Extra(x509.BasicConstraints, x509.BasicConstraints(False, None), True),
        Extra(x509.KeyUsage, usage("digital_signature"), True),
    )
    return Given(own, trust=[own])


def _cross_signed() -> Given:
    """Two certificates of one intermediate; only the older one leads to a trusted root."""
    key = ec_key()
    old = ca("Crossed", ROOT, key=key, begin=NOW - 20 * DAY)
    new = ca("Crossed", ca("New Root"), key=key)
    return Given(leaf(old), [new, old])


def _renewed_root() -> Given:
    key = ec_key()
    old = ca("Renewed", key=key, begin=NOW - 400 * DAY, end=NOW - DAY)
    return Given(leaf(old), trust=[ca("Renewed", key=key)])


def _renewal_beside_old() -> Given:
    key = ec_key()
    old = leaf(ROOT, key=key, begin=NOW - 300 * DAY, end=NOW - DAY)
    return Given(leaf(ROOT, key=key), [old])


def _below(intermediate: Signer, *above: Signer, role: str = "client") -> Given:
    return Given(leaf(intermediate), [intermediate, *above], role=role)


def _empty_subject() -> Given:
    names = x509.SubjectAlternativeName([x509.DNSName("gateway.local")])
    critical = Extra(x509.SubjectAlternativeName, names, critical=True)
    return Given(leaf(ROOT, critical, subject=x509.Name([])))


GOOD: dict[str, Row] = {
    "client": Row(lambda: Given(leaf(ROOT))),
    "client without SAN": Row(lambda: Given(leaf(ROOT, san=()))),
    "client without usages": Row(lambda: Given(leaf(ROOT, usages=()))),
    "client without key usage": Row(lambda: Given(leaf(ROOT, _without(x509.KeyUsage)))),
    "server": Row(lambda: Given(leaf(ROOT), role="server")),
    "server by address": Row(
        lambda: Given(
            leaf(ROOT, san=[x509.IPAddress(ipaddress.ip_address("192.0.2.7"))]), role="server"
        )
    ),
    "server by wildcard": Row(
        lambda: Given(leaf(ROOT, san=[x509.DNSName("*.example.com")]), role="server")
    ),
    "both": Row(lambda: Given(leaf(ROOT), role="both")),
    "P-384": Row(lambda: Given(leaf(ROOT, key=ec_key(ec.SECP384R1())))),
    "RSA below EC": Row(lambda: Given(leaf(ROOT, key=rsa_key(number=1)), role="both")),
    "EC below RSA": Row(lambda: Given(leaf(RSA_ROOT), trust=[RSA_ROOT], role="both")),
    "signed by PSS": Row(lambda: Given(leaf(RSA_ROOT, pss=True), trust=[RSA_ROOT])),
    "an intermediate": Row(lambda: _below(INTERMEDIATE)),
    "an intermediate and the root": Row(lambda: _below(INTERMEDIATE, ROOT, role="both")),
    "three intermediates": Row(
        lambda: _below(
            ca("Three", two := ca("Two", one := ca("One", ROOT))), one, two, role="server"
        )
    ),
    "path length just enough": Row(
        lambda: _below(ca("Below", above := ca("Above", ROOT, _length(1))), above)
    ),
    "several anchors": Row(lambda: Given(leaf(ROOT), trust=[RSA_ROOT, ROOT, ca("Third")])),
    "cross-signed": Row(_cross_signed),
    "a renewed root": Row(_renewed_root),
    "the old certificate beside": Row(_renewal_beside_old),
    "names within constraints": Row(lambda: _below(_constrained("Local", "local"))),
    "CA for clients": Row(lambda: _below(ca("Clients", ROOT, _usages(CLIENT)))),
    "an empty subject": Row(_empty_subject),
    "itself as the anchor": Row(_self_signed_leaf),
}

WARNED: dict[str, Row] = {
    "a device's certificate among the anchors": Row(
        lambda: Given(leaf(ROOT), trust=[ROOT, leaf(ROOT)]), warns={"trust"}
    ),
    "server without SAN": Row(
        lambda: Given(leaf(ROOT, san=()), role="server"), warns={"san", "chain"}
    ),
    "server with an e-mail address": Row(
        lambda: Given(leaf(ROOT, san=[x509.RFC822Name("ops@example.com")]), role="server"),
        warns={"san", "chain"},
    ),
    "no authority key identifier": Row(
        lambda: Given(leaf(ROOT, _without(x509.AuthorityKeyIdentifier))),
        warns={"authority-key-identifier", "chain"},
    ),
    "an intermediate without it": Row(
        lambda: _below(ca("Bare", ROOT, _without(x509.AuthorityKeyIdentifier))),
        warns={"authority-key-identifier"},
    ),
    "CA without key usage": Row(
        lambda: _below(ca("No usage", ROOT, _without(x509.KeyUsage))), warns={"chain"}
    ),
    "CA with constraints not critical": Row(
        lambda: _below(
            ca("Loose", ROOT, Extra(x509.BasicConstraints, x509.BasicConstraints(True, None)))
        ),
        warns={"chain"},
    ),
    "CA without subject key identifier": Row(
        lambda: _below(ca("No key id", ROOT, _without(x509.SubjectKeyIdentifier))),
        warns={"authority-key-identifier"},
    ),
    "Ed25519 CA": Row(
        lambda: Given(
            leaf(root := ca("Edwards", key=ed25519.Ed25519PrivateKey.generate())), trust=[root]
        ),
        warns={"chain"},
    ),
    "brainpool CA": Row(
        lambda: Given(leaf(root := ca("Brain", key=ec_key(ec.BrainpoolP256R1()))), trust=[root]),
        warns={"chain"},
    ),
    "no root among the anchors": Row(
        lambda: Given(leaf(INTERMEDIATE), trust=[INTERMEDIATE], handshake=False), warns={"trust"}
    ),
    "an expired anchor beside": Row(
        lambda: Given(
            leaf(ROOT), trust=[ca("Old", begin=NOW - 9 * DAY, end=NOW - DAY), ROOT]
        ),
        warns={"trust"},
    ),
    "expires soon": Row(lambda: Given(leaf(ROOT, end=NOW + 20 * DAY)), warns={"expiry"}),
    "a clock before our release, certificate older": Row(
        lambda: Given(
            leaf(old := ca("Y2K", begin=datetime(2000, 1, 1, tzinfo=UTC)),
                 begin=datetime(2001, 1, 1, tzinfo=UTC)),
            trust=[old],
            now=datetime(2010, 1, 1, tzinfo=UTC),
            handshake=False,
        ),
        warns={"dates"},
    ),
}  # fmt: skip

BAD: dict[str, Row] = {
    "another key": Row(lambda: Given(leaf(ROOT), key=ec_key(), handshake=False), {"key-match"}),
    "expired": Row(lambda: Given(leaf(ROOT, begin=NOW - 9 * DAY, end=NOW - DAY)), {"dates"}),
    "not yet valid": Row(lambda: Given(leaf(ROOT, begin=NOW + DAY)), {"dates"}),
    "a clock of 1970": Row(
        lambda: Given(leaf(ROOT), now=datetime(1970, 1, 2, tzinfo=UTC), handshake=False), {"dates"}
    ),
    "a CA": Row(
        lambda: Given(ca("Sub CA", ROOT), handshake=False), {"not-a-ca", "usage"}, {"chain"}
    ),
    "a leaf that may sign": Row(
        lambda: Given(
            leaf(ROOT, Extra(x509.KeyUsage, usage("digital_signature", "key_cert_sign"), True)),
            handshake=False,
        ),
        {"not-a-ca"},
        {"chain"},
    ),
    "no digitalSignature": Row(
        lambda: Given(leaf(ROOT, Extra(x509.KeyUsage, usage("key_encipherment"), True))), {"usage"}
    ),
    "keyAgreement alone, which OpenSSL takes and RFC 8446 does not": Row(
        lambda: Given(
            leaf(ROOT, Extra(x509.KeyUsage, usage("key_agreement"), True)), handshake=False
        ),
        {"usage"},
    ),
    "server's, for a client": Row(
        lambda: Given(leaf(ROOT, usages=[SERVER])), {"usage"}, {"chain"}
    ),
    "client's, for a server": Row(
        lambda: Given(leaf(ROOT, usages=[CLIENT]), role="server"), {"usage"}, {"chain"}
    ),
    "client's, for both": Row(
        lambda: Given(leaf(ROOT, usages=[CLIENT]), role="both"), {"usage"}, {"chain"}
    ),
    "anyExtendedKeyUsage": Row(lambda: Given(leaf(ROOT, usages=[ANY])), {"usage"}, {"chain"}),
    "no intermediate": Row(lambda: Given(leaf(INTERMEDIATE)), {"chain"}),
    "no trust": Row(lambda: Given(leaf(ROOT), trust=[], handshake=False), {"trust", "chain"}),
    "no trust, root in the bundle": Row(
        lambda: Given(leaf(ROOT), [ROOT], trust=[], handshake=False), {"trust", "chain"}
    ),
    "another root trusted": Row(lambda: Given(leaf(ROOT), [ROOT], trust=[RSA_ROOT]), {"chain"}),
    "a root of the same name": Row(lambda: Given(leaf(ROOT), trust=[ca("Root")]), {"chain"}),
    "tampered with": Row(_tampered, {"chain"}),
    "an expired intermediate": Row(
        lambda: _below(ca("Old", ROOT, begin=NOW - 9 * DAY, end=NOW - DAY)), {"chain"}
    ),
    "a future intermediate": Row(lambda: _below(ca("Soon", ROOT, begin=NOW + DAY)), {"chain"}),
    "an expired root": Row(
        lambda: Given(
            leaf(old := ca("Old", begin=NOW - 9 * DAY, end=NOW - DAY)), trust=[old]
        ),
        {"chain"},
        {"trust"},
    ),
    "signed by no CA": Row(lambda: _below(leaf(ROOT, common="Not a CA")), {"chain"}),
    "signed by a version 3 certificate without constraints": Row(
        lambda: _below(ca("Unsaid", ROOT, _without(x509.BasicConstraints))), {"chain"}
    ),
    "signed without key usage for it": Row(
        lambda: _below(ca("Seal", ROOT, Extra(x509.KeyUsage, usage("crl_sign"), True))), {"chain"}
    ),
    "path length exceeded": Row(
        lambda: _below(ca("Below", above := ca("Above", ROOT, _length(0))), above),
        {"chain"},
    ),
    "a CA for servers, for a client": Row(
        lambda: _below(ca("Servers", ROOT, _usages(SERVER))), {"chain"}
    ),
    "names outside constraints": Row(
        lambda: _below(_constrained("Elsewhere", "example.org")), {"chain"}
    ),
    "an unknown critical extension": Row(lambda: Given(leaf(ROOT, _critical_unknown())), {"chain"}),
    "an unknown critical extension above": Row(
        lambda: _below(ca("Odd", ROOT, _critical_unknown())), {"chain"}
    ),
    "RSA of 1024 bits": Row(
        lambda: Given(leaf(ROOT, key=rsa_key(1024))), {"algorithms"}
    ),
    "a CA with RSA of 1024 bits": Row(
        lambda: _below(ca("Weak", ROOT, key=rsa_key(1024))), {"algorithms"}, {"chain"}
    ),
}  # fmt: skip


def _judge(given: Given) -> Judgement:
    bundle = [one.certificate for one in (*given.others, given.own)]
    return judge(
        bundle,
        public_key=(given.key or given.own.key).public_key(),
        trust=[one.certificate for one in given.trust],
        role=given.role,
        now=given.now,
    )


def _named(judgement: Judgement, verdict: str) -> set[str]:
    return {one.name for one in judgement.verdicts if one.state == verdict}


@pytest.mark.parametrize("row", [pytest.param(row, id=key) for key, row in
                                 (GOOD | WARNED | BAD).items()])  # fmt: skip
def test_verdicts(row: Row, tmp_path: Path) -> None:
    given = row.make()
    judgement = _judge(given)
    said = "\n".join(f"{one.state} {one.name}: {one.text}" for one in judgement.verdicts)
    assert _named(judgement, "fail") == row.fails, said
    assert _named(judgement, "warn") == row.warns, said
    assert judgement.acceptable == (not row.fails)
    assert all(one.remedy for one in judgement.verdicts if one.state != "ok")
    if not given.handshake:
        return
    for role in ("client", "server") if given.role == "both" else (given.role,):
        refusal = handshake(
            tmp_path,
            role,
            given.own.key,
            judgement.chain,
            [one.certificate for one in given.trust],
            strict=not row.warns,
        )
        if judgement.acceptable:
            assert refusal is None
    if not judgement.acceptable:
        assert refusal is not None, said


def test_a_good_certificate_of_an_unknown_ca_only_wants_trust() -> None:
    office = ca("Office")
    below, above = ca("Below", office), ca("Office")  # the second has another key
    for given, wanted in (
        (Given(leaf(office), trust=()), "CN=Office,O=Test"),
        (Given(leaf(office), others=(office,), trust=()), "CN=Office,O=Test"),
        (Given(leaf(office)), "CN=Office,O=Test"),  # another CA is trusted
        (Given(leaf(below), trust=()), "CN=Below,O=Test"),
        (Given(leaf(below), others=(below,), trust=()), "CN=Office,O=Test"),
        (Given(leaf(ROOT)), ""),  # trusted
        (Given(leaf(office), trust=(above,)), ""),  # a CA of that name, with another key
        (
            Given(leaf(office, begin=NOW - 9 * DAY, end=NOW - DAY), trust=()),
            "",
        ),  # trust alone would not help
        (Given(leaf(office, _usages(SERVER)), trust=()), ""),  # nor here: it is for servers
    ):
        assert _judge(given).unknown_ca == wanted
