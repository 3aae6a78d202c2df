"""Compare a certificate with its key, its request and its predecessor; and show its details."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography import x509
from support.pki import DAY, NOW, ca, ec_key, leaf, make, rsa_key

from tpmconsole.cli.identities import verdict_json
from tpmconsole.x509.comparisons import check_possession, check_renewal, check_request
from tpmconsole.x509.judge import Finding, Proof, describe, judge
from tpmconsole.x509.request import build
from tpmconsole.x509.request_spec import RequestSpec

ROOT = ca("Root")
KEY = ec_key()


def _leaf(**options: Any) -> x509.Certificate:
    return leaf(ROOT, key=KEY, **options).certificate


@pytest.mark.parametrize("key", [KEY, rsa_key()], ids=["EC", "RSA"])
def test_the_key_proves_itself(key: Any) -> None:
    assert check_possession(leaf(ROOT, key=key).certificate, key).state == "ok"


@pytest.mark.parametrize("key", [ec_key(), rsa_key()], ids=["another", "another kind"])
def test_another_key_does_not(key: Any) -> None:
    assert check_possession(_leaf(), key).state == "fail"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (RequestSpec("CN=gateway,O=Test", ("dns:gateway.local",), "both"), None),
        (RequestSpec("CN=gw,O=Test", ("dns:gateway.local",), "both"), "subject CN=gateway,O=Test"),
        (RequestSpec("CN=gateway,O=Test", (), "both"), "SAN with dns:gateway.local added"),
        (
            RequestSpec("CN=gateway,O=Test", ("dns:gateway.local", "ip:::1"), "both"),
            "SAN without ip:::1",
        ),
        (
            RequestSpec("CN=gateway,O=Test", ("dns:gateway.local",), "client"),
            "usage with serverAuth added",
        ),
    ],
)
def test_what_the_ca_changed(spec: RequestSpec, said: str | None) -> None:
    verdict = check_request(_leaf(), build(KEY, spec))
    assert verdict.state == ("warn" if said else "ok")
    assert said is None or said in verdict.text


def test_a_request_for_another_key_is_not_compared() -> None:
    verdict = check_request(_leaf(), build(ec_key(), RequestSpec("CN=else")))
    assert verdict.state == "ok"
    assert "another key" in verdict.text


def test_renewal() -> None:
    old = _leaf(end=NOW + 10 * DAY)
    assert check_renewal(_leaf(), old).state == "ok"
    assert check_renewal(old, old).state == "ok"
    assert "is valid longer" in check_renewal(old, _leaf()).text
    other = leaf(ca("Other"), key=KEY, san=[x509.DNSName("b")], common="b").certificate
    text = check_renewal(other, old).text
    assert "subject CN=b,O=Test, was CN=gateway,O=Test" in text
    assert "issuer CN=Other" in text
    assert "SAN without dns:gateway.local" in text


def test_all_of_them_are_in_the_judgement() -> None:
    certificate = _leaf()
    judgement = judge(
        [certificate],
        public_key=KEY.public_key(),
        trust=[ROOT.certificate],
        role="client",
        now=NOW,
        proof=Proof(KEY),
        request=build(KEY, RequestSpec("CN=x")),
        previous=certificate,
    )
    assert judgement.acceptable
    assert {"key-proof", "request", "renewal"} <= {one.name for one in judgement.verdicts}


def test_of_several_for_the_key_the_newest_valid_one_is_taken() -> None:
    old, new = _leaf(begin=NOW - 9 * DAY), _leaf(begin=NOW - DAY)
    expired = _leaf(begin=NOW - 99 * DAY, end=NOW - DAY)
    for bundle in ([old, new, expired], [expired, new, old, new]):
        judged = judge(
            bundle, public_key=KEY.public_key(), trust=[ROOT.certificate], role="client", now=NOW
        )
        assert judged.leaf == new
        assert "2 of them not needed" in judged.verdicts[0].text


def test_nothing_and_nobody() -> None:
    judged = judge([], public_key=KEY.public_key(), trust=[], role="client", now=NOW)
    assert not judged.acceptable
    assert [one.name for one in judged.verdicts] == ["readable", "key-match"]


def test_facts_are_safe_to_show() -> None:
    hostile = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, "\x1b[2J" + "x" * 50),
         x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "\u202e" + "y" * 100_000)]
    )  # fmt: skip
    many = [x509.DNSName(f"host{number}.example.com") for number in range(5000)]
    facts = describe(leaf(ROOT, subject=hostile, san=many).certificate)
    assert facts.subject.isprintable()
    assert len(facts.subject) < 2000
    assert len(facts.san) == 100
    assert len(facts.fingerprint) == 64
    data = facts.to_json()
    assert json.dumps(data)
    assert data["not_after"].endswith("+00:00")


def test_hostile_bundles_are_bounded() -> None:
    """Hundreds of CAs with one name and key, each signed by every other: endless paths."""
    key = ec_key()
    loop = [ca("Loop", make("Loop", key, None, []), key=key).certificate for _ in range(40)]
    own = leaf(ca("Loop", key=key))
    judged = judge(
        [own.certificate, *loop],
        public_key=own.key.public_key(),
        trust=[ROOT.certificate],
        role="client",
        now=NOW,
    )
    assert "chain" in {one.name for one in judged.verdicts if one.state == "fail"}


def test_verdict_json() -> None:
    assert verdict_json(Finding("dates", "warn", "a", "b")) == {
        "check": "dates",
        "verdict": "warn",
        "text": "a",
        "remedy": "b",
    }
