"""Which certificate was refused, why, and by whom: the peer's by us, and ours by the peer."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from session.test_interop import s_server
from support.pki import (
    CLIENT,
    DAY,
    NOW,
    SERVER,
    Signer,
    ca,
    key_pem,
    leaf,
    pem,
)
from support.setting import Setting, SoftwareEngine, serving, until
from support.world import SoftwareServer

from tpmconsole import clock
from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.session.process.client import Client
from tpmconsole.session.process.preflight import prove_handshake, read_chain
from tpmconsole.session.spec import SessionSpec
from tpmconsole.session.tls.certificates import identified
from tpmconsole.session.tls.errors import explain
from tpmconsole.session.tls.peer import Peer

HERE = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
PAST: dict[str, Any] = {"begin": NOW - 9 * DAY, "end": NOW - DAY}


def shows(setting: Setting, *chain: Signer) -> None:
    """What the peer sends."""
    setting.peer.certificate.write_bytes(pem(*[one.certificate for one in chain]))
    setting.peer.key.write_bytes(key_pem(chain[0].key))


def below(issuer: Signer, **options: Any) -> Signer:
    return leaf(issuer, **{"san": HERE} | options)


async def refusal(setting: Setting, *anchors: Signer) -> ConsoleError:
    """What our client says of the peer."""
    if anchors:
        setting.ours.trust.write_bytes(pem(*[one.certificate for one in anchors]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(setting.peer.certificate, setting.peer.key)
    with SoftwareServer(context) as server, pytest.raises(ConsoleError) as caught:
        await Client(setting.running("client", server.port, count=1)).run()
    return caught.value


def names(error: ConsoleError, signer: Signer) -> bool:
    """Whether it tells which certificate it is about."""
    certificate = signer.certificate
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    facts = (
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        f"serial {certificate.serial_number:x}"[:40],
        f"{begin:%Y-%m-%d} to {end:%Y-%m-%d}",
        certificate.fingerprint(hashes.SHA256()).hex()[:16],
    )
    return all(one in error.cause for one in facts)


async def test_each_link_of_a_chain_is_named(setting: Setting) -> None:
    root = ca("top")
    mid = ca("mid", root)
    old_mid, old_leaf = ca("old mid", root, **PAST), below(mid, common="old leaf", **PAST)
    under_old = below(old_mid)

    shows(setting, old_leaf, mid)
    told = await refusal(setting, root)
    assert "its certificate has expired" in told.cause
    assert names(told, old_leaf)

    shows(setting, under_old, old_mid)
    told = await refusal(setting, root)
    assert "the intermediate CA certificate of its chain has expired" in told.cause
    assert names(told, old_mid)

    old_root = ca("old top", **PAST)
    shows(setting, below(old_root))
    told = await refusal(setting, old_root)
    assert "the root CA certificate of its chain has expired" in told.cause
    assert names(told, old_root)


async def test_a_chain_that_was_not_sent_is_no_unknown_ca(setting: Setting) -> None:
    root = ca("top")
    mid = ca("mid", root)
    good = below(mid, common="good")

    shows(setting, good)
    told = await refusal(setting, root)
    assert "issued by CN=mid,O=Test, whose certificate it did not send" in told.cause
    assert "send its whole chain" in str(told.remedy)
    assert names(told, good)

    # Where our own certificate is from the same CA, it is sure.
    own = leaf(mid, common="own", san=HERE)
    setting.ours.certificate.write_bytes(pem(own.certificate, mid.certificate))
    setting.ours.key.write_bytes(key_pem(own.key))
    told = await refusal(setting, root)
    assert "it did not send its whole chain" in told.cause
    assert not isinstance(told.remedy, NextStep)

    shows(setting, good, mid)
    told = await refusal(setting, ca("another"))
    assert "its chain ends at" in told.cause
    assert names(told, mid)
    assert isinstance(told.remedy, NextStep)
    assert told.remedy.action is Action.ADD_TRUST

    shows(setting, good, mid, root)
    told = await refusal(setting, ca("another"))
    assert "ends in a root that is not among our trust anchors" in told.cause
    assert names(told, root)

    told = await refusal(setting, ca("mid"))
    assert told.title == "Peer not trusted"


async def test_an_anchor_of_the_same_name_has_another_key(setting: Setting) -> None:
    old, new = ca("top"), ca("top")
    shows(setting, below(new))
    told = await refusal(setting, old)
    assert "issued by another key of" in told.cause
    assert "trust anchor of that name" in told.cause


async def test_a_wrong_name_lists_the_names_there_are(setting: Setting) -> None:
    many = [x509.DNSName(f"n{number}.example") for number in range(9)]
    shows(setting, below(setting.ca, san=many))
    told = await refusal(setting)
    assert told.title == "Wrong name"
    assert "is only for DNS n0.example, DNS n1.example" in told.cause
    assert "n5.example and 3 more;" in told.cause


async def test_a_client_of_our_server_is_named_too(setting: Setting) -> None:
    root = ca("clients")
    old = ca("old mid", root, **PAST)
    shows(setting, leaf(old, common="pump"), old)
    setting.ours.trust.write_bytes(root.pem)
    async with serving(setting.running("server")) as live:
        with suppress(OSError):  # which may come while it shakes hands
            await setting.connect(live)
        await until(setting.errors)
    (error,) = setting.errors()
    assert "the intermediate CA certificate of its chain has expired" in error["cause"]
    assert "CN=old mid" in error["cause"]


async def test_what_a_peer_writes_into_its_name_is_data(setting: Setting) -> None:
    evil = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "\x1b[2J\r\n\u202eok"),
            *[x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60)] * 40,
        ]
    )
    stranger = ca("stranger", subject=evil)
    shows(setting, below(stranger, subject=evil))
    told = await refusal(setting)
    assert told.cause.isprintable()
    assert len(told.cause) < 600
    (event,) = setting.errors()[-1:] or [{"cause": ""}]
    assert "\x1b" not in event["cause"]


# Ours, refused by the peer


def alert(name: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "text")
    error.reason = f"SSLV3_ALERT_{name}"
    return error


def told_of(name: str, *ours: Signer, who: str = "server") -> ConsoleError:
    return explain(alert(name), Peer(who, "broker:1", tuple(one.certificate for one in ours)))


def test_a_peer_that_calls_a_good_certificate_expired() -> None:
    root = ca("root")
    good = leaf(root, end=NOW + 90 * DAY)
    told = told_of("CERTIFICATE_EXPIRED", good)
    assert "by our clock it is valid for 89 days" in told.cause
    assert "check its clock" in str(told.remedy)
    assert names(told, good)


def test_a_peer_that_is_right_about_ours() -> None:
    root = ca("root")
    old = leaf(root, **PAST)
    told = told_of("CERTIFICATE_EXPIRED", old)
    assert "and it has" in told.cause
    assert isinstance(told.remedy, NextStep)
    assert told.remedy.action is Action.RENEW
    mid = ca("mid", root, **PAST)
    told = told_of("CERTIFICATE_EXPIRED", leaf(mid), mid)
    assert "not our own, but that of an intermediate CA" in told.cause
    assert names(told, mid)


def test_no_clock_no_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW.replace(year=1970))
    for name in ("CERTIFICATE_EXPIRED", "BAD_CERTIFICATE"):
        told = told_of(name, leaf(ca("root")))
        assert "clock not plausible" in told.cause
        assert told.remedy == clock.SET_IT


@pytest.mark.parametrize(
    ("name", "who", "usages", "words"),
    [
        ("UNSUPPORTED_CERTIFICATE", "server", [SERVER], "which was not issued for a client"),
        ("UNSUPPORTED_CERTIFICATE", "client", [CLIENT], "which was not issued for a server"),
        ("UNSUPPORTED_CERTIFICATE", "server", [CLIENT], "its key is EC secp256r1"),
        ("UNSUPPORTED_CERTIFICATE", "server", [], "its key is EC secp256r1"),
        ("BAD_CERTIFICATE", "server", [CLIENT], "it verifies here"),
        ("CERTIFICATE_REQUIRED", "server", [CLIENT], "accepts no signature that ours"),
        ("CERTIFICATE_REVOKED", "server", [CLIENT], "has been revoked"),
        ("UNKNOWN_CA", "server", [CLIENT], "trust anchors lack CN=root,O=Test, which issued it"),
    ],
)
def test_alerts_are_held_against_what_we_know(
    name: str, who: str, usages: Sequence[x509.ObjectIdentifier], words: str
) -> None:
    ours = leaf(ca("root"), usages=usages)
    told = told_of(name, ours, who=who)
    assert words in told.cause
    assert names(told, ours)
    assert str(told.remedy)


def test_what_we_send_decides_whose_ca_is_unknown() -> None:
    root = ca("root")
    mid = ca("mid", root)
    ours = leaf(mid)
    assert "with its chain if that is an intermediate CA" in str(told_of("UNKNOWN_CA", ours).remedy)
    told = told_of("UNKNOWN_CA", ours, mid)
    assert "lack CN=root,O=Test, which issued the last certificate of the chain" in told.cause
    soon = leaf(root, begin=NOW + DAY)
    assert "not valid before" in told_of("BAD_CERTIFICATE", soon).cause


async def test_a_real_peer_whose_clock_is_ahead(setting: Setting) -> None:
    ahead = str(int(time.time()) + 100 * 24 * 3600)
    with s_server(setting.peer, "-attime", ahead) as port:
        running = setting.running("client", port, protocol="https", count=1)
        with pytest.raises(ConsoleError, match="by our clock it is valid for 29 days") as caught:
            await Client(running).run()
    assert caught.value.title == "Peer refused us"


def test_our_own_chain_is_refused_before_anybody_sees_it(setting: Setting) -> None:
    root = ca("root")
    old = ca("old mid", root, **PAST)
    ours = leaf(old)
    setting.ours.certificate.write_bytes(pem(ours.certificate, old.certificate))
    setting.ours.key.write_bytes(key_pem(ours.key))
    spec = SessionSpec("client", "ours", "localhost", 1)
    chain = read_chain(setting.ours.certificate)
    with pytest.raises(ConsoleError, match="the CA certificate above it in our chain has") as told:
        prove_handshake(spec, SoftwareEngine(setting.ours), chain)
    assert names(told.value, old)
    assert isinstance(told.value.remedy, NextStep)
    assert told.value.remedy.action is Action.IMPORT


def test_a_name_that_cannot_be_read_is_told_as_such() -> None:
    der = leaf(ca("stranger")).certificate.public_bytes(Encoding.DER)
    odd = x509.load_der_x509_certificate(der.replace(b"stranger", b"\xff\xferanger"))
    assert "CN=gateway,O=Test, issued by a name that cannot be read, serial" in identified(odd)
