"""A CA for tests that makes whatever certificate is asked of it, good or bad; and a TLS peer."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE

Key = Any


def ec_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


@cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """Kept for the run: they take a while to make."""
    return rsa.generate_private_key(65537, bits)


def name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital_signature" in allowed,
        content_commitment=False,
        key_encipherment="key_encipherment" in allowed,
        data_encipherment=False,
        key_agreement="key_agreement" in allowed,
        key_cert_sign="key_cert_sign" in allowed,
        crl_sign="crl_sign" in allowed,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Signer:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True)
class Extra:
    """An extension, or None as its value to leave out one that is there otherwise."""

    kind: type[x509.ExtensionType]
    value: x509.ExtensionType | None
    critical: bool = False


def make(
    common: str,
    key: Key,
    issuer: Signer | None,
    extensions: Sequence[Extra],
    *changes: Extra,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + 365 * DAY,
    subject: x509.Name | None = None,
    pss: bool = False,
) -> Signer:
    """Make a certificate; ``changes`` replace the extensions of the same kind."""
    signer = issuer.key if issuer else key
    wanted = {one.kind: one for one in [*extensions, *changes]}
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common) if subject is None else subject)
        .issuer_name(issuer.certificate.subject if issuer else name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for one in wanted.values():
        if one.value is not None:
            builder = builder.add_extension(one.value, one.critical)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    options: dict[str, Any] = {}
    if pss:
        options["rsa_padding"] = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return Signer(builder.sign(signer, algorithm, **options), key)


def ca(
    common: str,
    issuer: Signer | None = None,
    *changes: Extra,
    key: Key | None = None,
    **options: Any,
) -> Signer:
    """A CA as it should be, but for the changes; a root where it has no issuer."""
    own = key or ec_key()
    return make(
        common,
        own,
        issuer,
        [
            Extra(x509.BasicConstraints, x509.BasicConstraints(True, None), critical=True),
            Extra(x509.KeyUsage, usage("key_cert_sign", "crl_sign"), critical=True),
            *_identifiers(own, issuer.key if issuer else own),
        ],
        *changes,
        **options,
    )


def leaf(
    issuer: Signer,
    *changes: Extra,
    key: Key | None = None,
    san: Sequence[x509.GeneralName] = (x509.DNSName("gateway.local"),),
    usages: Sequence[x509.ObjectIdentifier] = (CLIENT, SERVER),
    common: str = "gateway",
    **options: Any,
) -> Signer:
    """A device's certificate as it should be, but for the changes."""
    own = key or ec_key()
    names = x509.SubjectAlternativeName(san) if san else None
    return make(
        common,
        own,
        issuer,
        [
            Extra(x509.BasicConstraints, x509.BasicConstraints(False, None), critical=True),
            Extra(x509.KeyUsage, usage("digital_signature"), critical=True),
            Extra(x509.ExtendedKeyUsage, x509.ExtendedKeyUsage(usages) if usages else None),
            Extra(x509.SubjectAlternativeName, names),
            *_identifiers(own, issuer.key),
        ],
        *changes,
        **options,
    )


def _identifiers(own: Key, issuer: Key) -> list[Extra]:
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    subject = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
    return [
        Extra(x509.AuthorityKeyIdentifier, authority),
        Extra(x509.SubjectKeyIdentifier, subject),
    ]


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def key_pem(key: Key) -> bytes:
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


_PEER_CA = ca("Peer CA")
_PEER = leaf(_PEER_CA, san=[x509.DNSName("peer.local")])


def handshake(
    folder: Path,
    role: str,
    key: Key,
    chain: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    *,
    strict: bool,
) -> str | None:
    """Mutual TLS in memory: a peer with these anchors meets the chain.

    Returns:
        None where the peer accepts it, else what it says.
    """
    ours, theirs = folder / "ours.pem", folder / "theirs.pem"
    ours.write_bytes(key_pem(key) + pem(*chain))
    theirs.write_bytes(key_pem(_PEER.key) + _PEER.pem)
    contexts = {
        "client": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        "server": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    }
    contexts["server"].verify_mode = ssl.CERT_REQUIRED
    contexts["client"].check_hostname = False
    peer = contexts["server" if role == "client" else "client"]
    if strict:
        peer.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        contexts[role].load_cert_chain(ours)
        contexts[role].load_verify_locations(cadata=_PEER_CA.pem.decode())
        peer.load_cert_chain(theirs)
        peer.load_verify_locations(cadata=pem(*anchors).decode())
        _shake(contexts["client"], contexts["server"])
    except ssl.SSLError as error:
        return str(error)
    return None


def _shake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="gateway.local"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        waiting = 0
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                waiting += 1
        if not waiting:
            return
    raise AssertionError("the handshake does not end")
