"""The key-exchange group of a connection, found in OpenSSL's own memory."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.pki import Ca, SoftwareIdentity, memory_handshake

from tpmconsole.session.tls import group
from tpmconsole.session.tls.group import negotiated_group

older_than_3_15 = pytest.mark.skipif(
    hasattr(ssl.SSLObject, "group"), reason="this Python reports the group"
)


def shake(folder: Path, version: ssl.TLSVersion, curve: str) -> ssl.SSLObject:
    # Not an EC key: in TLS 1.2 its curve would have to be among the groups.
    identity = SoftwareIdentity.make(folder, Ca.make("root"), "peer", "rsa-2048")
    server = identity.context(server=True)
    server.set_ecdh_curve(curve)
    client = identity.context(server=False)
    client.maximum_version = version
    return memory_handshake(client, server)[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("curve", "name"), [("prime256v1", "secp256r1"), ("secp384r1", "secp384r1")]
)
def test_the_group_of_a_handshake(
    tmp_path: Path, version: ssl.TLSVersion, curve: str, name: str
) -> None:
    assert negotiated_group(shake(tmp_path, version, curve)) == name


@older_than_3_15
def test_an_unknown_layout_is_never_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = shake(tmp_path, ssl.TLSVersion.TLSv1_3, "prime256v1")
    stranger = SimpleNamespace(_sslobj=object(), context=tls.context)
    assert negotiated_group(stranger) is None  # type: ignore[arg-type]
    other = SimpleNamespace(_sslobj=tls._sslobj, context=object())  # type: ignore[attr-defined]
    assert negotiated_group(other) is None  # type: ignore[arg-type]
    monkeypatch.setattr(group, "_proved", set())
    monkeypatch.setattr(group, "points_to_data", lambda _: False)
    assert negotiated_group(tls) is None
    assert negotiated_group(SimpleNamespace(_sslobj=None)) is None  # type: ignore[arg-type]


def test_a_python_that_tells_is_asked() -> None:
    told = SimpleNamespace(group=lambda: "X25519MLKEM768")
    assert negotiated_group(told) == "X25519MLKEM768"  # type: ignore[arg-type]
