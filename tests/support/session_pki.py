"""A small certificate authority in memory, and TLS over two memory buffers."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SoftwareKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


class SoftwareSigner:
    """A signer of the TPM signer's shape whose key is in memory."""

    def __init__(self, key: SoftwareKey) -> None:
        self.key = key
        self.asked: list[tuple[int, str, str]] = []

    def public_key(self) -> PublicKey:
        return self.key.public_key()

    def sign(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
        self.asked.append((len(digest), hash_name, scheme))
        assert isinstance(self.key, ec.EllipticCurvePrivateKey)
        return self.key.sign(digest, ec.ECDSA(Prehashed(HASHES[hash_name])))

    def raw_rsa(self, data: bytes) -> bytes:
        assert isinstance(self.key, rsa.RSAPrivateKey)
        numbers = self.key.private_numbers()
        message = int.from_bytes(data, "big")
        one, two = pow(message, numbers.dmp1, numbers.p), pow(message, numbers.dmq1, numbers.q)
        answer = two + (numbers.iqmp * (one - two)) % numbers.p * numbers.q
        return answer.to_bytes((self.key.key_size + 7) // 8, "big")


@cache
def make_key(kind: str, which: str = "") -> SoftwareKey:
    """``ec-p256``, ``ec-p384``, ``ec-p521``, ``rsa-2048`` …; the same arguments, the same key."""
    family, _, size = kind.partition("-")
    if family == "rsa":
        return rsa.generate_private_key(65537, int(size))
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    return ec.generate_private_key(curves[size])


def key_pem(key: SoftwareKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@dataclass(frozen=True)
class Ca:
    """A root and what it issues; certificates are made for 127.0.0.1 and localhost."""

    key: SoftwareKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str, key: SoftwareKey | None = None) -> Ca:
        key = key or make_key("ec-p256", name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        builder = builder.add_extension(_usage(ca=True), True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        public_key: PublicKey,
        name: str,
        *,
        role: str = "both",
        days: tuple[int, int] = (-1, 30),
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
    ) -> bytes:
        """A PEM certificate; ``days`` from now: its first and its last."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self.certificate.subject, public_key, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_usage(ca=False), True)
        uses = {
            "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
            "server": [ExtendedKeyUsageOID.SERVER_AUTH],
        }
        builder = builder.add_extension(
            x509.ExtendedKeyUsage(uses.get(role, uses["client"] + uses["server"])), False
        )
        names = [_general_name(host) for host in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(issuer, False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: PublicKey,
    days: tuple[int, int] = (-1, 30),
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(public_key).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now + timedelta(days=days[0]))
    builder = builder.not_valid_after(now + timedelta(days=days[1]))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class SoftwareIdentity:
    """Files of a peer whose key is in software."""

    certificate: Path
    key: Path
    trust: Path

    @classmethod
    def make(cls, folder: Path, ca: Ca, name: str, kind: str = "ec-p256") -> SoftwareIdentity:
        folder.mkdir(parents=True, exist_ok=True)
        key = make_key(kind, name)
        identity = cls(folder / "certificate.pem", folder / "key.pem", folder / "trust.pem")
        identity.certificate.write_bytes(ca.issue(key.public_key(), name))
        identity.key.write_bytes(key_pem(key))
        identity.trust.write_bytes(ca.pem)
        return identity

    def context(self, *, server: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(self.trust)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def memory_handshake(
    client: ssl.SSLContext, server: ssl.SSLContext, host: str = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Shake hands over two memory buffers; errors of either side come out as they are."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    open_ends = list(ends)
    for _ in range(10):
        for end in list(open_ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            open_ends.remove(end)
    assert not open_ends
    return ends
