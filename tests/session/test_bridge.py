"""The signing bridge, with a software key behind it: every kind of key, every refusal, no leak."""

from __future__ import annotations

import gc
import shutil
import ssl
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from support.pki import (
    HASHES,
    Ca,
    PublicKey,
    SoftwareIdentity,
    SoftwareSigner,
    ca,
    make_key,
    memory_handshake,
)

from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError
from tpmconsole.session.tls import bridge as bridge_module
from tpmconsole.session.tls import openssl
from tpmconsole.session.tls.bridge import Bridge
from tpmconsole.session.tls.openssl import BridgeError, BridgeUnavailable


class Bridged:
    """A client whose key OpenSSL never sees, and a server that demands its certificate."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.ca = Ca.make("root")
        self.signer = SoftwareSigner(make_key(kind))
        self.chain = folder / "bridged.pem"
        self.chain.write_bytes(self.ca.issue(self.signer.public_key(), "bridged"))
        self.peer = SoftwareIdentity.make(folder / "peer", self.ca, "peer")
        self.bridge = Bridge(self.signer.public_key(), self.signer.sign, self.signer.raw_rsa)

    def context(self, *, server: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.peer.trust)
        context.verify_mode = ssl.CERT_REQUIRED
        self.bridge.install(context, self.chain)
        return context


@pytest.fixture(params=["ec-p256", "ec-p384", "rsa-2048", "rsa-3072"])
def bridged(request: pytest.FixtureRequest, tmp_path: Path) -> Bridged:
    return Bridged(tmp_path, request.param)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("server", [False, True])
def test_one_signature_makes_a_handshake(
    bridged: Bridged, version: ssl.TLSVersion, server: bool
) -> None:
    ours, theirs = bridged.context(server=server), bridged.peer.context(server=not server)
    ours.maximum_version = version
    ours.minimum_version = version
    pair = (theirs, ours) if server else (ours, theirs)
    ends = memory_handshake(*pair)
    seen = ends[0 if server else 1].getpeercert()
    assert seen is not None
    assert (("commonName", "bridged"),) in seen["subject"]
    assert bridged.bridge.signatures == 1
    assert bridged.bridge.take_failure() is None


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384"])
@pytest.mark.parametrize("hash_name", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_ecdsa_takes_a_digest_of_any_length(kind: str, hash_name: str) -> None:
    signer = SoftwareSigner(make_key(kind))
    bridge = Bridge(signer.public_key(), signer.sign, None)
    algorithms: dict[str, hashes.HashAlgorithm] = {
        **HASHES,
        "sha1": hashes.SHA1(),  # noqa: S303 - a length to test with
        "sha224": hashes.SHA224(),
    }
    algorithm = algorithms[hash_name]
    digest = bytes(range(algorithm.digest_size))
    public = signer.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(bridge.sign_ecdsa(digest), digest, ec.ECDSA(Prehashed(algorithm)))
    assert {name for _, name, _ in signer.asked} <= {"sha256", "sha384"}


def test_what_the_signer_raises_is_kept_for_the_caller(bridged: Bridged) -> None:
    trouble = ConsoleError("Wrong password", "the TPM refuses it", "give the right one")

    def refuse(*_: object) -> bytes:
        raise trouble

    public = bridged.signer.public_key()
    bridged.bridge = Bridge(public, refuse, refuse)
    context = bridged.context()
    with pytest.raises(ssl.SSLError):
        memory_handshake(context, bridged.peer.context(server=True))
    assert bridged.bridge.take_failure() is trouble
    assert bridged.bridge.take_failure() is None


def test_a_signature_of_nonsense_length_fails_and_harms_nothing(bridged: Bridged) -> None:
    bridged.bridge = Bridge(
        bridged.signer.public_key(), lambda *_: bytes(5000), lambda _: bytes(5000)
    )
    with pytest.raises(ssl.SSLError):
        memory_handshake(bridged.context(), bridged.peer.context(server=True))
    assert isinstance(bridged.bridge.take_failure(), ValueError)


def test_a_certificate_for_another_key_is_refused(bridged: Bridged, tmp_path: Path) -> None:
    for kind in ("ec-p256", "rsa-2048"):
        other = make_key(kind, "other")
        bridged.chain.write_bytes(bridged.ca.issue(other.public_key(), "other"))
        with pytest.raises(BridgeError, match="do not belong together"):
            bridged.context()


def test_a_chain_that_is_none_is_refused(bridged: Bridged, tmp_path: Path) -> None:
    bridged.chain.write_bytes(b"not a certificate")
    with pytest.raises(BridgeError, match="Certificate not loaded"):
        bridged.context()
    bridged.chain = tmp_path / "absent.pem"
    with pytest.raises(BridgeError, match="Certificate not loaded"):
        bridged.context()


def test_an_rsa_key_that_may_only_sign_is_refused_with_the_reason() -> None:
    key = make_key("rsa-2048")
    with pytest.raises(BridgeError, match="can only sign") as caught:
        Bridge(key.public_key(), SoftwareSigner(key).sign, None)
    assert "provider" in say(caught.value.remedy)


def test_other_kinds_of_keys_are_refused() -> None:
    signer = SoftwareSigner(make_key("ec-p521"))
    with pytest.raises(BridgeError, match="not EC secp521r1"):
        Bridge(signer.public_key(), signer.sign, None)
    stranger: PublicKey = ed25519.Ed25519PrivateKey.generate().public_key()  # type: ignore[assignment]
    with pytest.raises(BridgeError, match="cannot be bridged"):
        Bridge(stranger, signer.sign, None)


def test_the_context_pointer_is_checked_against_the_python_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    before = context.options
    assert openssl.context_pointer(context).value
    assert context.options == before
    library = openssl.functions()
    fixed = library.SSL_CTX_get_options(openssl.context_pointer(context))
    monkeypatch.setattr(library, "SSL_CTX_get_options", lambda _: fixed)
    with pytest.raises(BridgeUnavailable, match="not Python's"):
        openssl.context_pointer(context)
    assert context.options == before


def test_memory_that_is_not_ours_is_never_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "points_to_data", lambda _: False)
    with pytest.raises(BridgeUnavailable, match="in another way"):
        openssl.context_pointer(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert not openssl.points_to_data(8)


@pytest.fixture
def fresh_table() -> object:
    openssl.functions.cache_clear()
    yield
    openssl.functions.cache_clear()


def test_an_openssl_without_the_functions_is_refused(
    monkeypatch: pytest.MonkeyPatch, fresh_table: object
) -> None:
    monkeypatch.setitem(openssl._FUNCTIONS, "EC_KEY_METHOD_gone", (None, ()))
    assert "does not offer EC_KEY_METHOD_gone" in (bridge_module.unavailable() or "")


def test_an_old_openssl_is_refused(monkeypatch: pytest.MonkeyPatch, fresh_table: object) -> None:
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_INFO", (1, 1, 1, 23, 15))
    assert "older than OpenSSL 3.0" in (bridge_module.unavailable() or "")


def test_another_interpreter_is_refused(
    monkeypatch: pytest.MonkeyPatch, fresh_table: object
) -> None:
    monkeypatch.setattr("sys.implementation.name", "pypy")
    assert "pypy, not CPython" in (bridge_module.unavailable() or "")


def test_the_library_is_the_one_that_ssl_has_loaded() -> None:
    assert openssl.functions().OpenSSL_version_num() == ssl.OPENSSL_VERSION_NUMBER
    assert bridge_module.unavailable() is None


def test_a_bridge_lives_as_long_as_a_context_needs_it(tmp_path: Path) -> None:
    bridged = Bridged(tmp_path, "ec-p256")
    alive = weakref.ref(bridged.bridge)
    context, peer = bridged.context(), bridged.peer.context(server=True)
    del bridged
    gc.collect()
    memory_handshake(context, peer)
    assert alive() is not None
    del context
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("kind", ["ec-p256", "rsa-2048"])
def test_handshakes_and_contexts_leak_nothing(tmp_path: Path, kind: str) -> None:
    bridged = Bridged(tmp_path, kind)
    peer = bridged.peer.context(server=True)
    process = psutil.Process()

    def work(times: int) -> None:
        for _ in range(times):
            memory_handshake(bridged.context(), peer)
        public = bridged.signer.public_key()
        for _ in range(times * 5):
            Bridge(public, bridged.signer.sign, bridged.signer.raw_rsa)
        gc.collect()

    work(40)
    before = process.memory_info().rss
    work(80)
    # 80 contexts of some 20 kB each would be 1.6 MB, 400 keys of 2 kB another 0.8 MB.
    assert process.memory_info().rss - before < 700_000


def test_rsa_public_exponents_other_than_65537(tmp_path: Path) -> None:
    key = rsa.generate_private_key(3, 2048)
    signer = SoftwareSigner(key)
    assert Bridge(signer.public_key(), signer.sign, signer.raw_rsa).signatures == 0


# What its first lines say, in a program that has only the two files.
LIFTED = """
import ssl, sys
sys.path[:] = {path!r}
from elsewhere.bridge import Bridge, unavailable
from support.pki import Ca, SoftwareIdentity, SoftwareSigner, make_key, memory_handshake
from pathlib import Path
from typing import Any
folder = Path({folder!r})
assert unavailable() is None
ca = Ca.make("root")
for kind in ("ec-p256", "rsa-2048"):
    signer = SoftwareSigner(make_key(kind))
    chain = folder / "chain.pem"
    chain.write_bytes(ca.issue(signer.public_key(), "lifted"))
    bridge = Bridge(signer.public_key(), signer.sign, signer.raw_rsa)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca.pem.decode())
    bridge.install(context, chain)
    peer = SoftwareIdentity.make(folder / "peer", ca, "peer")
    memory_handshake(context, peer.context(server=True))
    print(bridge.signatures)
print("tpmconsole" in sys.modules)
"""


def test_the_two_files_work_in_another_package(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "elsewhere"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for module in (bridge_module, openssl):
        shutil.copy(str(module.__file__), package)
    own = Path(bridge_module.__file__).parents[2]
    path = [str(tmp_path / "lib"), str(Path(__file__).parents[1])]
    path += [one for one in sys.path if Path(one) != own]
    code = LIFTED.format(path=path, folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["1", "1", "False"], done.stderr


def test_more_names_than_tls_has_room_for_are_left_out(tmp_path: Path) -> None:
    """OpenSSL would end every handshake: the list has 64 KB."""
    trust, setting = tmp_path / "trust.pem", SoftwareIdentity.make(tmp_path, Ca.make("r"), "peer")
    root = Ca.make("r").certificate
    many = b"".join(ca("x" * 60, **_named_long(number)).pem for number in range(120))
    trust.write_bytes(root.public_bytes(Encoding.PEM) + many)
    for anchors in (setting.trust, trust):
        server = setting.context(server=True)
        openssl.name_accepted_cas(server, anchors)
        client, _ = memory_handshake(setting.context(server=False), server)
        assert client.version() == "TLSv1.3"


def _named_long(number: int) -> dict[str, Any]:
    parts = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "y" * 60)] * 9
    common = x509.NameAttribute(NameOID.COMMON_NAME, str(number))
    return {"subject": x509.Name([*parts, common]), "key": make_key("ec-p256")}
