"""What others have written makes and opens the same: tpm2-tools, and keylime's own code."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.chips import Chip

from tpmconsole.enrol.credential import Credential, make_credential
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.model import KeyRef
from tpmconsole.x509.names import key_bytes

# tpm2-tools' file of a credential: magic, version, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET.
_HEAD = bytes.fromhex("badcc0de00000001")


def test_tpm2_makecredential_seals_what_we_open(chip: Chip, tmp_path: Path) -> None:
    """For RSA; for the key's own Name, by the tools' own arithmetic."""
    attested = chip.attested("honest")
    (tmp_path / "secret").write_bytes(b"s" * 32)
    (tmp_path / "ek.pem").write_bytes(
        attested.certificates[0]
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    tool(
        tmp_path,
        {},
        *("tpm2_makecredential", "-T", "none", "-G", "rsa", "-u", "ek.pem", "-s", "secret"),
        *("-n", attested.area.name.hex(), "-o", "sealed"),
    )
    data = (tmp_path / "sealed").read_bytes()
    assert opened(chip, "honest", credential_of(data)) == b"s" * 32


def test_tpm2_activatecredential_opens_what_we_seal(chip: Chip, tmp_path: Path) -> None:
    """A key that the tools have made, the policy session theirs as well."""
    environment = tools_environment(chip)

    def run(*arguments: str) -> None:
        tool(tmp_path, environment, *arguments)

    run("tpm2_createek", "-c", "ek.ctx", "-G", "rsa", "-u", "ek.pub")
    run("tpm2_createprimary", "-C", "o", "-c", "srk.ctx")
    run("tpm2_create", "-C", "srk.ctx", "-G", "ecc", "-u", "key.pub", "-r", "key.priv")
    run("tpm2_load", "-C", "srk.ctx", "-u", "key.pub", "-r", "key.priv", "-c", "key.ctx")
    area = public_area.decode((tmp_path / "key.pub").read_bytes()[2:])
    endorsement = public_area.decode((tmp_path / "ek.pub").read_bytes()[2:]).public_key()
    assert key_bytes(endorsement) == key_bytes(chip.attested("honest").certificates[0].public_key())
    sealed = make_credential(endorsement, area.name, b"from us to them")
    (tmp_path / "sealed").write_bytes(_HEAD + sealed.blob + sealed.secret)
    run("tpm2_startauthsession", "--policy-session", "-S", "s.ctx")
    run("tpm2_policysecret", "-S", "s.ctx", "-c", "e")
    run(
        *("tpm2_activatecredential", "-c", "key.ctx", "-C", "ek.ctx", "-i", "sealed"),
        *("-o", "opened", "-P", "session:s.ctx"),
    )
    run("tpm2_flushcontext", "s.ctx")
    assert (tmp_path / "opened").read_bytes() == b"from us to them"


needs_keylime = pytest.mark.skipif(
    find_spec("keylime") is None, reason="make attest installs keylime, which judges ours"
)
# keylime imports gpg, for what is not used here.
_KEYLIME = "import sys, types; sys.modules['gpg'] = types.ModuleType('gpg'); "


@needs_keylime
@pytest.mark.lies("none: keylime's registrar seals", "nobody: our key opens it")
def test_keylime_seals_what_we_open(chip: Chip, tmp_path: Path, seen: object) -> None:
    attested = chip.attested("honest")
    endorsement = endorsement_area(chip)
    code = _KEYLIME + (
        "from keylime.tpm.tpm_main import Tpm; import base64\n"
        "ek, key = (base64.b64decode(one) for one in sys.argv[1:])\n"
        "blob, secret = Tpm.encrypt_aik_with_ek('board', ek, key)\n"
        "print(blob.decode(), secret)"
    )
    key = len(attested.area.encoded).to_bytes(2, "big") + attested.area.encoded
    answer = keylime(
        tmp_path, code, *(base64.b64encode(one).decode() for one in (endorsement, key))
    )
    blob, secret = map(base64.b64decode, answer.split())
    assert opened(chip, "honest", credential_of(blob)) == secret


@needs_keylime
@pytest.mark.lies("none: keylime verifies the chip's certificate", "nobody")
def test_keylime_believes_our_maker(chip: Chip, tmp_path: Path) -> None:
    [certificate, *_] = chip.attested("honest").certificates
    makers = tmp_path / "makers"
    makers.mkdir()
    code = _KEYLIME + (
        "from keylime import cert_utils; from pathlib import Path\n"
        "print(cert_utils.verify_ek(Path(sys.argv[1]).read_bytes(), sys.argv[2]))"
    )
    (tmp_path / "ek.der").write_bytes(certificate.public_bytes(Encoding.DER))
    arguments = (str(tmp_path / "ek.der"), str(makers))
    assert keylime(tmp_path, code, *arguments).endswith("False")
    for path in chip.board.simulator.maker.certificates():
        shutil.copy(path, makers)
    assert keylime(tmp_path, code, *arguments).endswith("True")


def opened(chip: Chip, name: str, sealed: Credential) -> bytes:
    pem = chip.board.identities.get(name).key_pem
    return chip.board.tpm.activate(KeyRef(pem=pem), 0x01C00002, sealed.blob, sealed.secret)


def endorsement_area(chip: Chip) -> bytes:
    """TPM2B_PUBLIC of the RSA endorsement key, as tpm2-tools give it."""
    with_folder = chip.folder / "ek"
    with_folder.mkdir(exist_ok=True)
    environment = tools_environment(chip)
    tool(with_folder, environment, "tpm2_createek", "-c", "ek.ctx", "-G", "rsa", "-u", "ek.pub")
    return (with_folder / "ek.pub").read_bytes()


def tools_environment(chip: Chip) -> dict[str, str]:
    """What tpm2-tools need to find the chip."""
    connection = chip.board.connect()
    return {**connection.environment, "TPM2TOOLS_TCTI": connection.tcti}


def credential_of(data: bytes) -> Credential:
    """What is in tpm2-tools' file."""
    assert data.startswith(_HEAD)
    size = 10 + int.from_bytes(data[8:10], "big")
    return Credential(data[8:size], data[size:])


def tool(folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(
        arguments,
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def keylime(folder: Path, code: str, *arguments: str) -> str:
    """What keylime's own code prints."""
    logging = folder / "logging.conf"
    logging.write_text("[logging]\nversion = 2.0\n")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={"PATH": os.environ["PATH"], "KEYLIME_LOGGING_CONFIG": str(logging)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
