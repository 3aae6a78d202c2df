"""Boards with simulated chips of one maker, a CA that trusts it, and what a liar makes of them."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from support.pki import NOW, ec_key
from support.waiting import assert_nothing_left
from tpmconsole.board import Board
from tpmconsole.board.attestation import Evidence
from tpmconsole.board.enrolment import attest_request
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.enrol.files import AttestedRequest, SealedCertificate, armour, read_attested
from tpmconsole.settings import Settings
from tpmconsole.system.files import make_private_folder
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.keyfile.public_area import PublicArea
from tpmconsole.tpm.model import Algorithm
from tpmconsole.tpm.simulator import Simulator
from tpmconsole.x509.attestation import ENDORSEMENT_USE
from tpmconsole.x509.demo_ca import DemoCa
from tpmconsole.x509.der import elements
from tpmconsole.x509.request_spec import RequestSpec

NEVER_OUTSIDE = public_area.FIXED_TPM | public_area.FIXED_PARENT | public_area.MADE_IN_TPM


@dataclass(frozen=True)
class Chip:
    """A board with a simulated chip.

    Attributes:
        board: it.
        folder: its state directory.
    """

    board: Board
    folder: Path

    @property
    def maker(self) -> Path:
        """The certificates of the chip's maker."""
        return self.board.simulator.maker.folder

    def identity(self, name: str, algorithm: Algorithm = Algorithm.EC_P256, **auth: Any) -> str:
        """An identity with a key in the chip and a request; made once."""
        if name not in self.board.identities.names():
            create_key(self.board, name, algorithm, **auth)
            spec = RequestSpec(f"CN={name},O=Test", (f"dns:{name}",), "client")
            make_request(self.board, name, spec, **auth)
        return name

    def attested(self, name: str, **auth: Any) -> AttestedRequest:
        """The attested request of an identity of the chip."""
        return read_attested(attest_request(self.board, self.identity(name), **auth).pem)


@contextmanager
def chip(maker: Path | None = None) -> Iterator[Chip]:
    """A board with a chip that its maker has certified.

    Args:
        maker: the maker's folder; a new maker where not given.
    """
    folder = Path(tempfile.mkdtemp(prefix="tc-", dir="/tmp"))
    try:
        if maker is not None:
            make_private_folder(folder / "simulator")
            shutil.copytree(maker, folder / "simulator" / "maker")
        board = Board(Settings(state=folder, simulate=True))
        try:
            yield Chip(board, folder)
        finally:
            board.close()
            Simulator(folder / "simulator").stop()
            assert_nothing_left(folder)
    finally:
        shutil.rmtree(folder)


class Authority:
    """A CA at its desk: files, no TPM.

    Args:
        folder: an empty one.
        makers: the makers' certificates.
    """

    def __init__(self, folder: Path, makers: Path) -> None:
        self.folder = folder
        self.makers = makers
        self.ca = DemoCa(folder / "ca")
        self._number = 0

    def file(self, data: bytes) -> Path:
        """A file that was sent."""
        self._number += 1
        path = self.folder / f"file-{self._number}"
        path.write_bytes(data)
        return path

    def evidence(
        self, attested: AttestedRequest | bytes, inventory: dict[str, str] | None = None
    ) -> Evidence:
        """What the CA goes by for an attested request.

        Args:
            inventory: boards by their endorsement key's fingerprint.
        """
        data = attested if isinstance(attested, bytes) else attested.to_pem()
        kept = None
        if inventory is not None:
            lines = "".join(f"{key},{name}\n" for key, name in inventory.items())
            kept = self.file(lines.encode())
        return Evidence(self.file(data), self.makers, kept)

    def certificate(self, attested: AttestedRequest) -> Path:
        """The certificate for an attested request."""
        return self.file(self.ca.sign(attested.request)[0])

    @property
    def root(self) -> bytes:
        """What a board trusts."""
        return self.ca.root.public_bytes(Encoding.PEM)


def software_request(
    key: ec.EllipticCurvePrivateKey, name: str = "liar"
) -> x509.CertificateSigningRequest:
    """A request for a key in software."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.add_extension(names, critical=False).sign(key, hashes.SHA256())


def area_of(
    key: ec.EllipticCurvePublicKey, attributes: int, *, name_hash: int = 0x000B, policy: bytes = b""
) -> PublicArea:
    """A public area of a P-256 key, with attributes as one likes."""
    numbers = key.public_numbers()
    point = b"".join(
        struct.pack(">H", 32) + number.to_bytes(32, "big") for number in (numbers.x, numbers.y)
    )
    head = struct.pack(">HHIH", public_area.ECC, name_hash, attributes, len(policy)) + policy
    return public_area.decode(head + struct.pack(">HHHH", 0x10, 0x10, 3, 0x10) + point)


def pretending(area: PublicArea, attributes: int) -> PublicArea:
    """The same public area with attributes written into it."""
    changed = struct.pack(">I", area.attributes | attributes)
    return public_area.decode(area.encoded[:4] + changed + area.encoded[8:])


def relabelled(sealed: SealedCertificate, **fields: Any) -> bytes:
    """A sealed file that says that it is for somebody else, so that the TPM has to decide."""
    return replace(sealed, envelope=replace(sealed.envelope, **fields)).to_pem()


def endorsement_certificate(
    key: Any,
    issuer: ec.EllipticCurvePrivateKey,
    issuer_name: x509.Name,
    *,
    use: x509.ObjectIdentifier = ENDORSEMENT_USE,
    change: Callable[[x509.CertificateBuilder], x509.CertificateBuilder] = lambda one: one,
) -> x509.Certificate:
    """An endorsement certificate, as makers write them."""
    attributes = [
        x509.NameAttribute(x509.ObjectIdentifier(f"2.23.133.2.{number}"), text)
        for number, text in ((1, "id:49465800"), (2, "SLB9672"), (3, "id:000F0017"))
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer_name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .add_extension(
            x509.SubjectAlternativeName([x509.DirectoryName(x509.Name(attributes))]),
            critical=True,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    )
    return change(builder).sign(issuer, hashes.SHA256())


def unsorted_name(common: str) -> x509.Name:
    """All of a name in one SET, as cryptography writes it: sorted."""
    attributes = [
        x509.NameAttribute(NameOID.COMMON_NAME, common),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Maker"),
        x509.NameAttribute(NameOID.COUNTRY_NAME, "TW"),
    ]
    return x509.Name([x509.RelativeDistinguishedName(attributes)])


def turned_over(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, names: list[x509.Name]
) -> bytes:
    """The same with the SETs of its names turned over, and signed so."""
    signed = certificate.tbs_certificate_bytes
    for one in names:
        (whole,) = elements(one.public_bytes())
        (part,) = elements(whole.content)
        turned = b"".join(each.whole for each in reversed(elements(part.content)))
        signed = signed.replace(part.content, turned)
    assert signed != certificate.tbs_certificate_bytes
    (all_of_it,) = elements(certificate.public_bytes(Encoding.DER))
    algorithm = elements(all_of_it.content)[1].whole
    signature = b"\0" + key.sign(signed, ec.ECDSA(hashes.SHA256()))
    body = signed + algorithm + bytes([0x03, len(signature)]) + signature
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


def own_maker(
    name: str = "own maker", **change: Any
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A root that somebody has made; ``ca``, ``begin`` and ``end`` may differ from a good one's."""
    key = ec_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    root = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(change.get("begin", NOW - timedelta(days=1)))
        .not_valid_after(change.get("end", NOW + timedelta(days=365)))
        .add_extension(
            x509.BasicConstraints(ca=change.get("ca", True), path_length=None), critical=True
        )
        .sign(key, hashes.SHA256())
    )
    return key, root


@contextmanager
def bus_of(board: Board) -> Iterator[str]:
    """The TCTI of a board's simulator, for programs and libraries besides ours."""
    connection = board.connect()
    before = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    os.environ.update(connection.environment)
    try:
        yield connection.tcti
    finally:
        if before is None:
            os.environ.pop("DBUS_SESSION_BUS_ADDRESS", None)
        else:
            os.environ["DBUS_SESSION_BUS_ADDRESS"] = before


def unknown_block(pem: bytes) -> bytes:
    """The same file with a block that nobody knows."""
    return armour("SOMETHING NEW", b"new") + pem
