"""A throw-away CA for the simulator and the kiosk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.system.files import make_private_folder, read_bounded, write_atomic
from tpmconsole.system.locks import FileLock
from tpmconsole.x509.chain import PURPOSES
from tpmconsole.x509.names import general_names, key_usage, purposes
from tpmconsole.x509.request import signature_usage

LOCK_S = 10.0
ROOT_DAYS = 20 * 365
_FILE_BYTES = 64 * 1024
# So that a peer with a slightly slow clock accepts a certificate that was just made.
_CLOCK_TOLERANCE = timedelta(minutes=5)
_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tpmconsole"),
        x509.NameAttribute(NameOID.COMMON_NAME, "tpmconsole demo CA"),
    ]
)


def is_demo_root(certificate: x509.Certificate) -> bool:
    """Whether a trust anchor is a demo CA, judged by its name, from any state directory."""
    return certificate.subject == _NAME


class DemoCa:
    """A root CA on EC P-256 that signs any request of the simulator's identities.

    Its private key is in a plain file (0600) and not in the TPM: its signatures mean nothing
    outside this demonstration, and it must still work after the simulated TPM was deleted. The key
    and its certificate share one file, so that a power cut cannot separate them.

    Args:
        folder: the folder of ``ca.pem``; both are made at first use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "ca.pem"

    @property
    def root(self) -> x509.Certificate:
        """The root certificate.

        Raises:
            ConsoleError: the CA cannot be made, or its file is damaged.
        """
        return self._load(datetime.now(UTC))[1]

    def sign(
        self,
        request: x509.CertificateSigningRequest,
        *,
        days: int = 90,
        now: datetime | None = None,
    ) -> tuple[bytes, bytes]:
        """Sign a request: its subject, alternative names and usages are copied.

        Args:
            days: how long the certificate is valid.
            now: when it is signed; by default the current time.

        Returns:
            The certificate and the trust anchor, each as PEM.

        Raises:
            ConsoleError: the request is damaged, or the CA cannot be made.
        """
        try:
            intact = request.is_signature_valid
        except UnsupportedAlgorithm:
            intact = False
        if not intact:
            raise ConsoleError(
                "Request refused",
                "it was not signed with the key that it contains",
                NextStep(Action.REQUEST, text="make the request again: {}"),
            )
        usage = key_usage(request)
        leaf = self.issue(
            request.public_key(),
            request.subject,
            san=general_names(request),
            usages=purposes(request) or [PURPOSES["client"]],
            key_encipherment=bool(usage and usage.key_encipherment),
            days=days,
            now=now,
        )
        return leaf.public_bytes(Encoding.PEM), self.root.public_bytes(Encoding.PEM)

    def issue(
        self,
        public_key: CertificatePublicKeyTypes,
        subject: x509.Name,
        *,
        san: Sequence[x509.GeneralName] = (),
        usages: Sequence[x509.ObjectIdentifier] = tuple(PURPOSES.values()),
        key_encipherment: bool = False,
        days: int = 90,
        now: datetime | None = None,
    ) -> x509.Certificate:
        """Make a certificate for a key, without a request.

        Raises:
            ConsoleError: the CA cannot be made, or its file is damaged.
        """
        moment = now or datetime.now(UTC)
        key, root = self._load(moment)
        begin = max(moment - _CLOCK_TOLERANCE, root.not_valid_before_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(min(moment + timedelta(days=days), root.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(signature_usage(key_encipherment=key_encipherment), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(_authority(root), critical=False)
        )
        if san:
            # RFC 5280, 4.2.1.6: with an empty subject, the alternative names are the subject.
            critical = not list(subject)
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=critical)
        return builder.sign(key, hashes.SHA256())

    def _load(self, now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        if not self._file.exists():
            with self._locked():
                if not self._file.exists():
                    write_atomic(self._file, _make_root(now))
        pem = read_bounded(self._file, _FILE_BYTES)
        try:
            key = load_pem_private_key(pem, None)
            root = x509.load_pem_x509_certificate(pem)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise self._damaged() from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise self._damaged()
        return key, root

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let only one process make the CA if several need it for the first time.

        Raises:
            ConsoleError: another process has not finished after ten seconds.
        """
        make_private_folder(self._folder)
        with FileLock.on_folder(self._folder) as lock:
            lock.take(self._in_use(), LOCK_S)
            yield

    def _in_use(self) -> ConsoleError:
        return ConsoleError(
            "Demo CA is in use",
            f"another process has been making it for {LOCK_S:g} s",
            f"end the program that uses {self._folder}, then try again",
        )

    def _damaged(self) -> ConsoleError:
        return ConsoleError(
            "Demo CA not usable",
            f"{self._file} is damaged",
            "move it away: a new CA is made, and must sign all certificates of the old one again",
        )


def _make_root(now: datetime) -> bytes:
    """Make a new key and its self-signed certificate, as two PEM blocks in one text."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    root = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_ca_usage(), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + root.public_bytes(Encoding.PEM)


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(root: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
