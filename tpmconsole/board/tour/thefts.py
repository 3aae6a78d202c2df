"""The functions of the tour's later steps: strangers, thieves, and ways into the chip."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import Name, NameAttribute
from cryptography.x509.oid import NameOID

from tpmconsole.board.phrases import SELF_TEST, chip_words
from tpmconsole.board.tour.stage import DEVICE, SOFTWARE_DEVICE, Stage
from tpmconsole.board.tour.steps import content, digest_of, key_in, short, source, took
from tpmconsole.board.tour.story import Outcome
from tpmconsole.board.tour.stranger import knock
from tpmconsole.errors import ConsoleError
from tpmconsole.finding import Finding
from tpmconsole.system.files import make_private_folder, write_atomic
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.model import Algorithm
from tpmconsole.x509.chain import PURPOSES
from tpmconsole.x509.names import key_fingerprint

_SUBJECT = f"CN={SOFTWARE_DEVICE},O=Demo"


def turn_away(stage: Stage) -> Outcome:
    """Connect without a certificate."""
    server = stage.server()
    begun = time.perf_counter()
    answer = knock(server.address, _root(stage), None)
    time_taken = took(begun)
    if answer.welcome:
        return Outcome((Finding("Stranger", "WORKS", f"the server answers: {answer.text}"),))
    noted = [one for one in stage.board.sessions.events(server.id) if one["event"] == "error"]
    return Outcome(
        (
            Finding("Stranger", "REFUSED", f"after {time_taken}"),
            Finding("Reason given", "", answer.text),
            Finding(
                "Server log", "", f"{noted[-1]['title']}: {noted[-1]['cause']}" if noted else "-"
            ),
            Finding("Data", "", "no answer: the server only talks to known clients"),
        )
    )


def steal(stage: Stage) -> Outcome:
    """Try the key file on a second TPM."""
    original = stage.certified(DEVICE).folder / "key.pem"
    with stage.second_tpm() as thief:
        loot = _copied(original, thief.settings.state / "loot")
        try:
            health = thief.status()
        except ConsoleError as error:  # a board with a chip might lack the simulator
            none = Finding("Thief's TPM", "NONE", f"{error.cause}; {error.remedy}")
            return Outcome((_compared(original, loot), none))
        there = _signing(lambda: thief.tpm.sign(source(loot), bytes(32), "sha256", "ecdsa"))
    here = _signing(lambda: stage.board.tpm.sign(source(original), bytes(32), "sha256", "ecdsa"))
    return Outcome(
        (
            _compared(original, loot),
            Finding(
                "Thief's TPM",
                SELF_TEST[health.self_test.result],
                f"{chip_words(health)}, as good as the device's",
            ),
            Finding("Signs there?", *there),
            Finding("Signs here?", *here),
        )
    )


def steal_software(stage: Stage) -> Outcome:
    """Steal a key that is in a file, and use it."""
    certificate, key = _software_device(stage)
    home = stage.folder / "home"
    taken_certificate, taken_key = (_copied(one, home) for one in (certificate, key))
    server = stage.server()
    begun = time.perf_counter()
    answer = knock(server.address, _root(stage), (taken_certificate, taken_key))
    time_taken = took(begun)
    met = (
        ("WORKS", f"{answer.text} in {time_taken}: the server accepts {_SUBJECT}")
        if answer.welcome
        else ("REFUSED", answer.text)
    )
    so = "it was the thief. The server can never know."
    return Outcome(
        (
            _compared(key, taken_key),
            Finding("A key in it?", *key_in(content(taken_key))),
            Finding("Thief calls", *met),
            Finding("But", "", so if answer.welcome else "the theft was useless"),
        )
    )


def _software_device(stage: Stage) -> tuple[Path, Path]:
    """Make the certificate and the key of a device that keeps its key in a file."""
    folder = make_private_folder(stage.folder / "software")
    certificate, key_file = folder / "certificate.pem", folder / "key.pem"
    if not certificate.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        write_atomic(key_file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        subject = Name(
            [
                NameAttribute(NameOID.ORGANIZATION_NAME, "Demo"),
                NameAttribute(NameOID.COMMON_NAME, SOFTWARE_DEVICE),
            ]
        )
        leaf = stage.ca.issue(key.public_key(), subject, usages=[PURPOSES["client"]])
        write_atomic(certificate, leaf.public_bytes(Encoding.PEM))
    return certificate, key_file


def _compared(original: Path, copy: Path) -> Finding:
    same = content(original) == content(copy)
    state = "STOLEN" if same else "NO"
    return Finding(
        "The copy", state, f"SHA-256 {digest_of(copy)}, {'identical' if same else 'differs'}"
    )


def _copied(file: Path, folder: Path) -> Path:
    return Path(shutil.copy(file, make_private_folder(folder) / file.name))


def _signing(sign: Callable[[], bytes]) -> tuple[str, str]:
    """Sign with a TPM, and return the state and the text to show: its error if it refuses."""
    begun = time.perf_counter()
    try:
        signature = sign()
    except ConsoleError as error:
        if error.response_code is None:
            raise
        return "REFUSED", f"response code 0x{error.response_code:x}: {error.cause}"
    return "YES", f"a signature of {len(signature)} bytes, in {took(begun)}"


def _root(stage: Stage) -> str:
    return stage.ca.root.public_bytes(Encoding.PEM).decode("ascii")


def deliver(stage: Stage) -> Outcome:
    """Use each of the three ways to get keys onto devices once."""
    return Outcome((*_shared(stage), *_one_each(stage), *_born_inside(stage)))


def _shared(stage: Stage) -> tuple[Finding, ...]:
    office = ec.generate_private_key(ec.SECP256R1())
    devices = {_taken_in(stage, office)[0] for _ in range(2)}
    return (
        Finding(
            "1 Shared",
            "1 KEY",
            f"2 devices, {len(devices)} key ({short(sorted(devices)[0])}): made in an office, put "
            "into every device. One leak exposes them all. You trust everyone who handles it.",
        ),
    )


def _one_each(stage: Stage) -> tuple[Finding, ...]:
    factory = ec.generate_private_key(ec.SECP256R1())
    fingerprint, origin = _taken_in(stage, factory)
    copy_signs = _verifies(factory) and fingerprint == key_fingerprint(factory.public_key())
    return (
        Finding(
            "2 One each",
            "A COPY",
            f"{short(fingerprint)}, made in the factory; the chip says '{origin}'. A leak exposes "
            "one device. The factory's copy can sign: "
            f"{'yes' if copy_signs else 'no'}. You trust the factory, its disks and its people.",
        ),
    )


def _born_inside(stage: Stage) -> tuple[Finding, ...]:
    device = stage.key(DEVICE)
    key = keyfile.parse(content(device.folder / "key.pem"))
    fingerprint = key_fingerprint(key.public_key())
    return (
        Finding(
            "3 In the chip",
            "NO COPY",
            f"{short(fingerprint)}, at the first start; the chip says "
            f"'{_origin(key.area.origin)}'. Only the request left the device. You trust only the "
            "chip.",
        ),
    )


def _taken_in(stage: Stage, key: ec.EllipticCurvePrivateKey) -> tuple[str, str]:
    """Import a key into the TPM; return its fingerprint, and its origin according to the TPM."""
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    made = keyfile.parse(stage.board.tpm.import_key(der, Algorithm.EC_P256))
    return key_fingerprint(made.public_key()), _origin(made.area.origin)


def _origin(origin: str) -> str:
    return {"tpm": "made in the TPM", "imported": "imported"}[origin]


def _verifies(key: ec.EllipticCurvePrivateKey) -> bool:
    message = b"it is me, the device"
    signature = key.sign(message, ec.ECDSA(hashes.SHA256()))
    try:
        key.public_key().verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
