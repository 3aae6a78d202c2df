"""Key, certificate and engine made ready: what the provider cannot do goes over the bridge."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from support.pki import Ca, SoftwareSigner, make_key

from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError
from tpmconsole.session.directory import SessionConfig
from tpmconsole.session.process import prepare
from tpmconsole.session.process.prepare import Preparation
from tpmconsole.session.spec import Credentials, SessionSpec
from tpmconsole.session.tls.context import ProviderEngine
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.tpm.model import Connection, KeyRef

SHA256 = hashes.SHA256()


class Chip(SoftwareSigner):
    """A signer whose RSA-PSS salts are as long as some chips make them."""

    def __init__(self, salt: Any) -> None:
        super().__init__(make_key("rsa-2048"))
        self.salt = salt
        self.opened = 1

    def sign(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
        assert hash_name == "sha256"
        assert isinstance(self.key, rsa.RSAPrivateKey)
        pss = padding.PSS(padding.MGF1(SHA256), self.salt)
        scheme_padding = pss if scheme == "rsapss" else padding.PKCS1v15()
        return self.key.sign(digest, scheme_padding, Prehashed(SHA256))

    def close(self) -> None:
        self.opened -= 1


@pytest.fixture
def order(tmp_path: Path) -> SessionConfig:
    ca = Ca.make("root")
    certificate, trust = tmp_path / "certificate.pem", tmp_path / "trust.pem"
    certificate.write_bytes(ca.issue(make_key("rsa-2048").public_key(), "ours"))
    trust.write_bytes(ca.pem)
    return SessionConfig(
        SessionSpec("server", "ours", "localhost", 0),
        Credentials("ours", KeyRef(handle=0x81000001), certificate, trust),
        Connection("device:/dev/none", "test"),
        EngineChoice("provider", "it is 1.3.0 and the key is a file"),
        "boot",
    )


def prepared(folder: Path, order: SessionConfig, chip: Chip) -> Preparation:
    return Preparation(folder, order, None, lambda: chip, lambda: None)  # type: ignore[arg-type,return-value]


def test_a_chip_with_long_salts_is_bridged(
    tmp_path: Path, order: SessionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    avoided: list[str] = []
    monkeypatch.setattr(prepare, "avoid_provider", avoided.append)
    ready = prepared(tmp_path, order, Chip(padding.PSS.MAX_LENGTH)).make()
    assert ready.choice.name == "bridge"
    assert "salt" in ready.choice.why
    assert avoided == ["tpm2"]


def test_a_chip_with_long_salts_is_refused_where_the_provider_is_asked_for(
    tmp_path: Path, order: SessionConfig
) -> None:
    order = replace(order, spec=replace(order.spec, engine="provider"))
    with pytest.raises(ConsoleError, match="salt that is not as long") as caught:
        prepared(tmp_path, order, Chip(padding.PSS.MAX_LENGTH)).make()
    assert "--engine bridge" in say(caught.value.remedy)


def test_a_provider_that_does_not_take_the_key_is_left(
    tmp_path: Path, order: SessionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it is not even loaded, so nobody knows of handles."""
    monkeypatch.setattr(prepare, "avoid_provider", lambda _: None)
    chip = Chip(32)
    ready = prepared(tmp_path, order, chip).make()
    assert ready.choice.name == "bridge"
    assert "does not open handle" in ready.choice.why
    # The key was taken out of the TPM before the provider was to load it.
    assert chip.opened == 0


def test_a_handle_with_a_password_is_none_for_the_provider(tmp_path: Path) -> None:
    engine = ProviderEngine(0x81000001, tmp_path / "none", b"secret", lambda: None)
    with pytest.raises(ConsoleError, match="does not pass on the password") as caught:
        engine.install(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert "--engine bridge" in say(caught.value.remedy)


def test_a_handle_that_no_provider_opens(tmp_path: Path) -> None:
    """Here no provider is loaded that knows of handles."""
    engine = ProviderEngine(0x81000001, tmp_path / "none", None, lambda: None)
    with pytest.raises(ConsoleError, match="does not open handle:0x81000001"):
        engine.install(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


# What is found before any peer is asked


def bridged(folder: Path, order: SessionConfig) -> Preparation:
    signer = Chip(32)
    choice = EngineChoice("bridge", "test")
    return prepared(folder, replace(order, engine=choice), signer)


@pytest.mark.parametrize(
    ("certificate", "words", "remedy"),
    [
        ({"days": (-9, -5)}, "has expired", "renew it"),
        ({"days": (5, 9)}, "not valid yet", "clock"),
        ({"role": "other"}, "not issued for this role", "with --role {role} or both"),
    ],
)
@pytest.mark.parametrize("role", ["client", "server"])
def test_our_own_certificate_is_judged_as_a_peer_would(
    tmp_path: Path,
    order: SessionConfig,
    role: str,
    certificate: dict[str, Any],
    words: str,
    remedy: str,
) -> None:
    if "role" in certificate:
        certificate = {"role": "client" if role == "server" else "server"}
    order = replace(order, spec=replace(order.spec, role=role))
    pem = Ca.make("root").issue(make_key("rsa-2048").public_key(), "ours", **certificate)
    order.credentials.certificate.write_bytes(pem)
    with pytest.raises(ConsoleError, match=words) as caught:
        bridged(tmp_path, order).make()
    assert caught.value.title == "Certificate refused"
    assert remedy.format(role=role) in say(caught.value.remedy)


def test_files_that_are_not_what_they_should_be(tmp_path: Path, order: SessionConfig) -> None:
    made = bridged(tmp_path, order)
    assert made.make().leaf.subject.rfc4514_string() == "CN=ours"
    order.credentials.trust.write_bytes(b"no anchors")
    with pytest.raises(ConsoleError, match="Trust anchors not loaded"):
        made.make()
    for content, words in ((b"no certificate", "Certificate not loaded"), (None, "File not read")):
        order.credentials.certificate.unlink()
        if content:
            order.credentials.certificate.write_bytes(content)
        with pytest.raises(ConsoleError, match=words):
            made.make()
