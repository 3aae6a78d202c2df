"""A CA in memory that makes any certificate, good or bad; and TLS in memory."""

from __future__ import annotations

import ipaddress
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
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}

Key = Any
SignatureHash = hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | hashes.SHA3_256
SoftwareKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def ec_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """Return a key; the same arguments give the same key."""
    key = make_key(f"rsa-{bits}", str(number or ""))
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@cache
def make_key(kind: str, which: str = "") -> SoftwareKey:
    """``ec-p256``, ``ec-p384``, ``ec-p521``, ``rsa-2048`` …; the same arguments, the same key."""
    family, _, size = kind.partition("-")
    if family == "rsa":  # this takes a while
        return rsa.generate_private_key(65537, int(size))
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    return ec_key(curves[size])


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
    """An extension, or None as its value to leave out a default one."""

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
    issuer_as: x509.Name | None = None,
    signed_with: SignatureHash | None = None,
) -> Signer:
    """Make a certificate; ``changes`` replace the extensions of the same kind.

    Args:
        key: its own; if it has an issuer, the public half is enough.
        issuer_as: the issuer's name, if it must be written in another way.
    """
    subject = name(common) if subject is None else subject
    above = issuer.certificate.subject if issuer else subject
    signer = issuer.key if issuer else key
    wanted = {one.kind: one for one in [*extensions, *changes]}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_as or above)
        .public_key(_public(key))
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for one in wanted.values():
        if one.value is not None:
            builder = builder.add_extension(one.value, one.critical)
    edwards = isinstance(signer, ed25519.Ed25519PrivateKey)
    algorithm = None if edwards else signed_with or hashes.SHA256()
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
    """A correct CA, except for the changes; a root if it has no issuer."""
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
    """A correct certificate of a device, except for the changes."""
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
    subject = x509.SubjectKeyIdentifier.from_public_key(_public(own))
    return [
        Extra(x509.AuthorityKeyIdentifier, authority),
        Extra(x509.SubjectKeyIdentifier, subject),
    ]


def _public(key: Key) -> Any:
    return key if isinstance(key, PublicKey) else key.public_key()


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def key_pem(key: Key) -> bytes:
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


class Ca(Signer):
    """A root for sessions; what it issues is for 127.0.0.1 and localhost."""

    @classmethod
    def make(cls, common: str, key: SoftwareKey | None = None) -> Ca:
        """A root; the same name gives the same key, unless a key is given."""
        root = ca(common, key=key or make_key("ec-p256", common), **_named(common, -1, 30))
        return cls(root.certificate, root.key)

    def issue(
        self,
        public_key: PublicKey,
        common: str,
        *,
        role: str = "both",
        days: tuple[int, int] = (-1, 30),
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
    ) -> bytes:
        """A PEM certificate; ``days`` from now: its first and its last."""
        issued = leaf(
            self,
            key=public_key,
            san=[_general_name(host) for host in hosts],
            usages={"client": [CLIENT], "server": [SERVER]}.get(role, [CLIENT, SERVER]),
            common=common,
            **_named(common, *days),
        )
        return issued.pem


def _named(common: str, first: int, last: int) -> dict[str, Any]:
    """Options of a certificate with only a common name, from one day to another."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    return {"begin": now + first * DAY, "end": now + last * DAY, "subject": subject}


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class SoftwareSigner:
    """A signer with the TPM signer's interface and a key in memory."""

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
    """Do a handshake over two memory buffers; errors of either side are raised unchanged."""
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
        None if the peer accepts it, else its error.
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
        memory_handshake(contexts["client"], contexts["server"], "gateway.local")
    except ssl.SSLError as error:
        return str(error)
    return None
