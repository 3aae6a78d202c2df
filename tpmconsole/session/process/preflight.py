"""Check, before a session starts, that key, certificate and engine work together.

First the key signs and the certificate's public key verifies: an error there names its cause.
Then a whole handshake in memory, with a throw-away certificate on the other side: an error that
occurs only there comes from the engine, the certificate's dates or its usages.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tpmconsole import clock
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.session.tls.bridge import Bridge, PublicKey, unavailable
from tpmconsole.session.tls.context import Engine, EngineFailedError, bare_context, mismatch
from tpmconsole.session.tls.errors import explain
from tpmconsole.session.tls.peer import Peer
from tpmconsole.session.tls.refused import with_certificate
from tpmconsole.session.tls.verification import own_certificate_refused
from tpmconsole.system.files import read_bounded
from tpmconsole.system.sha2 import SHA2

if TYPE_CHECKING:
    from tpmconsole.session.spec import SessionSpec
    from tpmconsole.tpm.signer import Signer

_CHAIN_BYTES = 256 * 1024
_ROUNDS = 10
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017, 9.2, note 1


def read_chain(path: Path) -> list[x509.Certificate]:
    """Read an identity's certificate and its intermediates.

    Raises:
        ConsoleError: the file cannot be read, or holds no certificate.
    """
    try:
        return x509.load_pem_x509_certificates(read_bounded(path, _CHAIN_BYTES))
    except ValueError as error:
        raise ConsoleError(
            "Certificate not loaded",
            f"{path} holds no readable certificate",
            "import the certificate again",
        ) from error


def prove_key(signer: Signer, leaf: x509.Certificate, *, raw: bool) -> PublicKey:
    """Sign with the TPM's key, and verify with the certificate's.

    Args:
        raw: check an RSA key's raw operation, which the bridge needs.

    Returns:
        The public key.

    Raises:
        ConsoleError: they do not belong together; or, from the signer, why the TPM does not sign.
        EngineFailedError: TLS does not accept the TPM's signatures.
    """
    public_key = signer.public_key()
    digest = hashlib.sha256(b"tpmconsole pre-flight").digest()
    theirs = leaf.public_key()
    if theirs != public_key:
        raise mismatch()
    try:
        if isinstance(public_key, ec.EllipticCurvePublicKey):
            signature = signer.sign(digest, "sha256", "ecdsa")
            public_key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        else:
            size = (public_key.key_size + 7) // 8
            info = _SHA256_INFO + digest
            if raw:
                block = b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info
                signature = signer.raw_rsa(block)
            else:
                _prove_salt(public_key, signer.sign(digest, "sha256", "rsapss"), digest)
                signature = signer.sign(digest, "sha256", "rsassa")
            public_key.verify(signature, digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
    except InvalidSignature as error:
        raise ConsoleError(
            "Key signs incorrectly",
            "the TPM's signature does not verify with the key's own public half",
            NextStep(Action.SELF_TEST, text="run the TPM's self-test ({})"),
        ) from error
    return public_key


def _prove_salt(public_key: rsa.RSAPublicKey, signature: bytes, digest: bytes) -> None:
    """In TLS, RSA-PSS has a salt as long as the hash (RFC 8446, 4.2.3); some chips differ."""
    sha256 = Prehashed(hashes.SHA256())
    mask = padding.MGF1(hashes.SHA256())
    public_key.verify(signature, digest, padding.PSS(mask, padding.PSS.AUTO), sha256)
    try:
        public_key.verify(signature, digest, padding.PSS(mask, padding.PSS.DIGEST_LENGTH), sha256)
    except InvalidSignature as error:
        raise EngineFailedError(
            "Provider cannot use this key",
            "this TPM signs RSA-PSS with a salt that is not as long as the hash, which TLS refuses",
            NextStep(Action.USE_ENGINE, "bridge", "use {}, which pads in software, or an EC key"),
            ExitCode.REFUSED,
        ) from error


def prove_handshake(spec: SessionSpec, engine: Engine, chain: list[x509.Certificate]) -> None:
    """Do a handshake in memory, in the session's role and with its TLS versions.

    Raises:
        ConsoleError: it failed; says why.
    """
    server = spec.role == "server"
    ours = bare_context(server=server, min_tls=spec.min_tls, max_tls=spec.max_tls)
    ours.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE
    engine.install(ours)
    theirs = bare_context(server=not server, min_tls=spec.min_tls, max_tls=spec.max_tls)
    theirs.check_hostname = False
    theirs.verify_mode = ssl.CERT_REQUIRED
    # Our own certificate is trusted directly: whether to trust its CA is up to the real peer.
    theirs.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusted = "".join(one.public_bytes(Encoding.PEM).decode("ascii") for one in chain)
    theirs.load_verify_locations(cadata=trusted)
    _give_throw_away_identity(theirs)
    try:
        _shake(*((theirs, ours) if server else (ours, theirs)))
    except ssl.SSLCertVerificationError as error:
        raise _failure(with_certificate(error, theirs), engine, spec.role) from error
    except (ssl.SSLError, OSError) as error:
        raise _failure(error, engine, spec.role) from error


def _failure(error: OSError, engine: Engine, role: str) -> ConsoleError:
    kept = engine.take_failure()
    if kept is not None:
        return explain(kept, Peer("the", "key"))
    if isinstance(error, ssl.SSLCertVerificationError):
        if no_clock := clock.fault(clock.now()):
            return ConsoleError("Certificate not checked", no_clock, clock.SET_IT)
        return own_certificate_refused(error, role)
    reason = getattr(error, "reason", None) or str(error)
    return EngineFailedError(
        "Pre-flight failed",
        f"a handshake in memory failed: OpenSSL says {reason.replace('_', ' ').lower()}",
        "look at the session's log, or try the other engine",
    )


def _shake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    waiting: list[Callable[[], None]] = [
        client.wrap_bio(to_client, to_server).do_handshake,
        server.wrap_bio(to_server, to_client, server_side=True).do_handshake,
    ]
    for _ in range(_ROUNDS):
        for handshake in list(waiting):
            try:
                handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(handshake)
        if not waiting:
            return
    raise ssl.SSLError("the handshake does not end")


def _give_throw_away_identity(context: ssl.SSLContext) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pre-flight")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1))
    certificate = builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())

    def sign(digest: bytes, hash_name: str, _scheme: str) -> bytes:
        return key.sign(digest, ec.ECDSA(Prehashed(SHA2[hash_name]())))

    # A file that is only in memory: OpenSSL needs a path.
    descriptor = os.memfd_create("pre-flight")
    path = f"/proc/self/fd/{descriptor}"
    try:
        os.write(descriptor, certificate.public_bytes(Encoding.PEM))
        if unavailable() is None:
            # An OpenSSL whose configuration prefers signatures of the TPM (tpm2-openssl before
            # 1.2) would try to sign this there too, if it saw the key.
            Bridge(key.public_key(), sign, None).install(context, path)
        else:
            os.write(descriptor, _pem(key))
            context.load_cert_chain(path)
    finally:
        os.close(descriptor)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
