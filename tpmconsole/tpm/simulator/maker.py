"""The simulated TPM's maker: it gives a new chip its endorsement certificates.

A maker certifies the endorsement keys of its chips before it sells them (TCG EK Credential
Profile). swtpm_setup does so for swtpm; the CA is one of our own, below the simulator's folder, and
not the system's. Without swtpm_setup, and for a TPM that is there already, there is no maker: such
a chip works, but cannot prove to a CA that it is one.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError
from tpmconsole.system.environment import NO_OPENSSL_CONF
from tpmconsole.system.files import PRIVATE_FILE, make_private_folder, write_atomic
from tpmconsole.tpm.simulator.runtime import write_private

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

LOG = logging.getLogger(__name__)

SETUP = "swtpm_setup"  # of the Debian package swtpm-tools
_CA_PROGRAM = "swtpm_localca"
_TIMEOUT_S = 60.0
_DAYS = 20 * 365
# Where swtpm_setup leaves the endorsement keys. Few chips come with keys at handles: those make
# theirs when they are needed, and the room stays free.
ENDORSEMENT_HANDLES = (0x81010001, 0x81010016)
# swtpm_localca(8): the root has this name beside the issuer.
_ROOT, _ISSUER, _KEY = "swtpm-localca-rootca-cert.pem", "issuercert.pem", "signkey"
_LOCK = ".lock.swtpm-localca"
_PRIVATE_UMASK = 0o077
_OPTIONS = "--platform-manufacturer tpmconsole\n--platform-version 1\n--platform-model simulator\n"


class Maker:
    """A maker of simulated chips.

    Args:
        folder: keeps its CA: the root and the issuer's certificate and key, made at first use.
        search_path: where swtpm_setup is looked for, as PATH is written.
    """

    def __init__(self, folder: Path, search_path: str) -> None:
        self.folder = folder
        self._search_path = search_path

    def make_chip(self, state: Path) -> bool:
        """Make a new TPM with endorsement certificates; False where that cannot be done here.

        Args:
            state: the folder that is to hold it; nothing is there yet, and nothing is where this
                answers False.
        """
        setup, ca_program = (
            shutil.which(name, path=self._search_path) for name in (SETUP, _CA_PROGRAM)
        )
        # Its configuration files have no quotes: a line ends the path (swtpm_setup.conf(5)).
        if setup is None or ca_program is None or "\n" in str(self.folder):
            return False
        unfinished = state.with_name(f"{state.name}.unfinished")
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            make_private_folder(unfinished)
            self._run(setup, self._configuration(ca_program), unfinished)
            unfinished.replace(state)
        except (ConsoleError, OSError, subprocess.SubprocessError) as error:
            LOG.warning("the simulated TPM has no endorsement certificates: %s", error)
            shutil.rmtree(unfinished, ignore_errors=True)
            return False
        return True

    def certificates(self) -> list[Path]:
        """What a CA may be given of this maker: its root and its issuer, where it has them."""
        names = (self.folder / _ROOT, self.folder / _ISSUER)
        return [path for path in names if path.is_file()]

    def _run(self, setup: str, configuration: Path, state: Path) -> None:
        write_private(self.folder / "setup.log", "")
        with (self.folder / "setup.log").open("wb") as log:
            subprocess.run(
                [
                    *(setup, "--tpm2", "--create-ek-cert", "--lock-nvram", "--not-overwrite"),
                    # As many PCR banks as a chip without a maker has.
                    *("--pcr-banks", "-", "--config", str(configuration)),
                    *("--tpmstate", f"dir://{state}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=NO_OPENSSL_CONF
                | {"PATH": self._search_path, "LANG": "C.UTF-8", "HOME": str(self.folder)},
                timeout=_TIMEOUT_S,
                umask=_PRIVATE_UMASK,
                check=True,
            )
        # Made as a program's would be, whatever the umask.
        (self.folder / _LOCK).unlink(missing_ok=True)

    def _configuration(self, ca_program: str) -> Path:
        """swtpm_setup.conf(5) and what it names."""
        folder = make_private_folder(self.folder)
        if not (folder / _KEY).exists():
            _write_ca(folder)
        setup, ca, options = (
            folder / name for name in ("setup.conf", "localca.conf", "localca.options")
        )
        write_private(options, _OPTIONS)
        write_private(
            ca,
            f"statedir = {folder}\nsigningkey = {folder / _KEY}\n"
            f"issuercert = {folder / _ISSUER}\ncertserial = {folder / 'certserial'}\n",
        )
        write_private(
            setup,
            f"create_certs_tool = {ca_program}\n"
            f"create_certs_tool_config = {ca}\ncreate_certs_tool_options = {options}\n",
        )
        return setup


def _write_ca(folder: Path) -> None:
    """A root, and the issuer below it that signs for chips; the key of the root is not kept.

    Our own: swtpm_localca would make RSA keys, which takes seconds.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("demo maker root", root_key, "demo maker root", root_key, 1)
    issuer = _certificate("demo maker", key, "demo maker root", root_key, 0)
    write_atomic(folder / _ROOT, root.public_bytes(Encoding.PEM))
    write_atomic(folder / _ISSUER, issuer.public_bytes(Encoding.PEM))
    # Last: where it is, everything is.
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomic(folder / _KEY, secret, PRIVATE_FILE)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    path_length: int,
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    usage = x509.KeyUsage(
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
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )


def _name(common_name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tpmconsole"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
