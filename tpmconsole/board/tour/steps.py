"""The functions of the tour's first steps, from the chip to the handshake.

Each returns what it has measured.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tpmconsole.board.phrases import SELF_TEST, chip_words
from tpmconsole.board.sessions import start_session
from tpmconsole.board.tour.stage import DEVICE, SERVER, Stage
from tpmconsole.board.tour.story import Outcome
from tpmconsole.errors import ConsoleError
from tpmconsole.finding import Finding
from tpmconsole.system.files import read_bounded
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.model import KeyRef, SelfTestResult
from tpmconsole.x509.names import fingerprint, key_fingerprint, name_text
from tpmconsole.x509.schemes import load_public_key

_HANDSHAKE = (
    f"{DEVICE}, with a chip{SERVER + ', with a chip':>46}",
    "    |  Hello, I speak TLS 1.3  ---------------------------->  |",
    "    |  <------  Hello. My certificate. My chip's signature    |",
    "    |  My certificate. My chip's signature  --------------->  |",
    "    |                  ^^^^^^^^^^^^^^^^^^^                    |",
    "    |      THE TPM SIGNS HERE: a digest goes in, a signature  |",
    "    |      comes out, and the private key stays where it is   |",
    "    |  <===========  encrypted in both directions  ========>  |",
)
_CLIENT_S = 15.0


def meet(stage: Stage) -> Outcome:
    """Show the chip and its self-test."""
    health = stage.board.status()
    begun = time.perf_counter()
    test, _ = stage.board.self_test(full=True)
    time_taken = took(begun)
    passed = test.result is SelfTestResult.PASSED
    name = chip_words(health)
    return Outcome(
        (
            Finding("The chip", "", f"{name}, TPM {health.family} revision {health.revision}"),
            Finding(
                "Kind",
                "SIMULATED" if health.simulated else "REAL",
                "a program that answers like a chip; it protects nothing"
                if health.simulated
                else f"a chip on this board ({health.tcti})",
            ),
            Finding("Self-test", SELF_TEST[test.result], f"as the chip reports, in {time_taken}"),
            Finding("Result", "", "the chip works" if passed else f"it answers 0x{test.code:x}"),
        )
    )


def make_key(stage: Stage) -> Outcome:
    """Make a key in the TPM."""
    begun = time.perf_counter()
    device = stage.key(DEVICE)
    time_taken = took(begun)
    key = keyfile.parse(content(device.folder / "key.pem"))
    public = key_fingerprint(load_public_key(key.public_pem()))
    return Outcome(
        (
            Finding("New key", "OK", f"{key.algorithm}, for the device {DEVICE}, in {time_taken}"),
            Finding("Public half", "", f"SHA-256 {short(public)}"),
            Finding("Private half", "INSIDE", "no one has seen it, not even this program"),
            Finding("The chip says", "", ", ".join(one for one in key.attributes if "TPM" in one)),
        )
    )


def read_file(stage: Stage) -> Outcome:
    """Show what the key's file contains."""
    pem = content(stage.key(DEVICE).folder / "key.pem")
    key = keyfile.parse(pem)
    first = pem.decode("ascii").splitlines()[0]
    return Outcome(
        (
            Finding("First line", "", first),
            Finding("Size", "", f"{len(pem)} bytes"),
            Finding("Public half", "", f"{len(key.public)} bytes, for everyone"),
            Finding(
                "Private half",
                "WRAPPED",
                f"{len(key.private)} bytes, encrypted: ... {key.private[-10:].hex(' ')}",
            ),
            Finding("A key in it?", *key_in(pem)),
            Finding("Works in", "", "only this chip: it unwraps the key and uses it inside"),
        )
    )


def ask(stage: Stage) -> Outcome:
    """Make the certificate request."""
    stage.key(DEVICE)
    begun = time.perf_counter()
    pem = stage.request(DEVICE)
    time_taken = took(begun)
    request = x509.load_pem_x509_csr(pem)
    good = request.is_signature_valid
    return Outcome(
        (
            Finding("Name", "", name_text(request.subject)),
            Finding("Public half", "", f"SHA-256 {short(key_fingerprint(request.public_key()))}"),
            Finding("Signature", "", f"by the chip; the whole request took {time_taken}"),
            Finding("Checked", "OK" if good else "NO", "with only the public half"),
            Finding(
                "Request",
                "",
                f"{len(pem)} bytes, SHA-256 {short(hashlib.sha256(pem).hexdigest())}",
            ),
        )
    )


def certify(stage: Stage) -> Outcome:
    """Certify the device and install the certificate."""
    judgement = stage.certify(DEVICE)
    leaf = judgement.leaf
    assert leaf is not None  # noqa: S101 - it has been installed
    good = sum(one.state == "ok" for one in judgement.verdicts)
    return Outcome(
        (
            Finding("Issued to", "", name_text(leaf.subject)),
            Finding("Issued by", "", name_text(leaf.issuer)),
            Finding("Valid until", "", f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"),
            Finding("Fingerprint", "", f"SHA-256 {short(fingerprint(leaf))}"),
            Finding("Installed", "OK", f"after {good} of {len(judgement.verdicts)} checks passed"),
        )
    )


def shake_hands(stage: Stage) -> Outcome:
    """Make a mutual-TLS connection between two sessions."""
    from tpmconsole.session.spec import SessionSpec
    from tpmconsole.session.status import State
    from tpmconsole.system.processes import wait_for

    device = stage.certified(DEVICE)
    host, _, port = stage.server().address.rpartition(":")
    board = stage.board
    client = start_session(
        board, SessionSpec("client", DEVICE, host, int(port), interval_s=0, count=1)
    ).id
    wait_for(lambda: board.sessions.show(client).state.ended, _CLIENT_S)
    facts = board.sessions.show(client)
    if facts.state is not State.STOPPED or facts.peer is None:
        trouble = facts.last_error
        raise ConsoleError(
            trouble.title if trouble else "No handshake",
            trouble.cause if trouble else f"the device's session is {facts.state}",
            "try this step again",
        )
    begun = time.perf_counter()
    board.tpm.sign(source(device.folder / "key.pem"), bytes(32), "sha256", "ecdsa")
    signed = took(begun)
    return Outcome(
        (
            Finding(
                "Handshake", "OK", f"{facts.protocol_version}, in {facts.handshake_ms.last:.0f} ms"
            ),
            Finding("Encryption", "", facts.cipher or "-"),
            Finding("Device saw", "", facts.peer.subject),
            Finding("They said", "", f"PING 1, PONG 1 ({facts.messages} message)"),
            Finding("A signature", "", f"by the chip takes {signed}, including key loading"),
        ),
        _HANDSHAKE,
    )


FILE_BYTES = 64 * 1024


def took(begun: float) -> str:
    """Format the time since ``begun``, a ``time.perf_counter()``."""
    seconds = time.perf_counter() - begun
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def short(digest: str) -> str:
    """Shorten a fingerprint, still long enough to compare two at a glance."""
    return f"{digest[:4]} {digest[4:8]} {digest[8:12]} {digest[12:16]} ..."


def content(path: Path) -> bytes:
    """Read a file."""
    return read_bounded(path, FILE_BYTES)


def digest_of(path: Path) -> str:
    """The shortened SHA-256 of a file."""
    return short(hashlib.sha256(content(path)).hexdigest())


def source(path: Path) -> KeyRef:
    """The key in a TSS2 key file."""
    return KeyRef(pem=content(path))


def key_in(pem: bytes) -> tuple[str, str]:
    """Check whether a file reveals a private key, as any program would try to read it."""
    try:
        load_pem_private_key(pem, None)
    except ValueError:
        return "NOT FOUND", "a program that reads private keys finds no key"
    return "FOUND", "a program that reads private keys has it at once"
