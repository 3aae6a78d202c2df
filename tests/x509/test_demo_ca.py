"""The demo CA: everyone who trusts it accepts what it signs."""

from __future__ import annotations

import multiprocessing
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import ec_key, handshake, name, rsa_key

from tpmconsole.errors import ConsoleError
from tpmconsole.x509.demo_ca import DemoCa
from tpmconsole.x509.judge import Proof, describe, judge, read_bundle
from tpmconsole.x509.request import build
from tpmconsole.x509.request_spec import RequestSpec

SPEC = RequestSpec(
    "CN=gateway,O=Example,C=DE", ("dns:gateway.local", "ip:127.0.0.1", "uri:urn:dev:1"), "both"
)


@pytest.mark.parametrize(
    "key", [ec_key(), ec_key(ec.SECP384R1()), rsa_key()], ids=["P-256", "P-384", "RSA"]
)
def test_what_it_signs_passes_every_check_and_strict_peers(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey
) -> None:
    request = build(key, SPEC)
    chain, trust = DemoCa(tmp_path / "ca").sign(request)
    anchors = read_bundle(trust)
    judgement = judge(
        read_bundle(chain),
        public_key=key.public_key(),
        trust=anchors,
        role="both",
        now=datetime.now(UTC),
        proof=Proof(key),
        request=request,
    )
    assert {one.state for one in judgement.verdicts} == {"ok"}, judgement.verdicts
    for role in ("client", "server"):
        assert handshake(tmp_path, role, key, judgement.chain, anchors, strict=True) is None
    facts = describe(judgement.chain[0])
    assert facts.subject == "CN=gateway,O=Example,C=DE"
    assert facts.san == SPEC.san


def test_it_stays_the_same_ca(tmp_path: Path) -> None:
    first, second = DemoCa(tmp_path / "ca"), DemoCa(tmp_path / "ca")
    assert first.root == second.root
    files = list((tmp_path / "ca").iterdir())
    assert [stat.S_IMODE(one.stat().st_mode) for one in files] == [0o600]
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


def test_days_and_the_clock(tmp_path: Path) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    demo = DemoCa(tmp_path)
    pem, _ = demo.sign(build(ec_key(), SPEC), days=2, now=now)
    certificate = read_bundle(pem)[0]
    assert certificate.not_valid_after_utc == now + timedelta(days=2)
    assert certificate.not_valid_before_utc < now
    later = demo.issue(ec_key().public_key(), name("x"), days=36500, now=now)
    assert later.not_valid_after_utc == demo.root.not_valid_after_utc


def test_a_request_that_was_changed_is_refused(tmp_path: Path) -> None:
    der = bytearray(build(ec_key(), SPEC).public_bytes(Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(ConsoleError, match="Request refused"):
        DemoCa(tmp_path).sign(x509.load_der_x509_csr(bytes(der)))


def test_a_damaged_ca_is_told(tmp_path: Path) -> None:
    demo = DemoCa(tmp_path)
    assert demo.root
    (tmp_path / "ca.pem").write_bytes(b"damaged")
    with pytest.raises(ConsoleError, match="is damaged"):
        _ = demo.root


def _root(folder: Path) -> bytes:
    return DemoCa(folder).root.public_bytes(Encoding.DER)


def test_several_processes_make_one_ca(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(_root, [tmp_path / "ca"] * 8))) == 1
