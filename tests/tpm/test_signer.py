"""A key held open to sign with, as a session's process does."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from tpm2_pytss import TSS2_Exception
from waiting import wait_until

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.jobs import context
from tpmconsole.tpm.jobs.context import Context
from tpmconsole.tpm.model import Algorithm, KeySource
from tpmconsole.tpm.signer import Signer

DIGEST = hashlib.sha256(b"data").digest()
SHA256 = Prehashed(hashes.SHA256())
# RFC 8017, section 9.2, note 1.
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


@pytest.fixture
def tcti(shared_tpm, shared_simulator, monkeypatch) -> str:
    """The shared simulator, reached from this process as from a child."""
    connection = shared_simulator.ensure()
    for name, value in connection.environment.items():
        monkeypatch.setenv(name, value)
    return connection.tcti


def good(signer: Signer) -> bool:
    signature = signer.sign(DIGEST, "sha256", "ecdsa")
    signer.public_key().verify(signature, DIGEST, ec.ECDSA(SHA256))
    return True


def test_signs_again_and_again_with_one_key_loaded(shared_tpm, tcti):
    pem = shared_tpm.create(Algorithm.EC_P256)
    with Signer(tcti, KeySource(pem)) as signer:
        assert signer.public_key() == keyfile.parse(pem).public_key()
        assert all(good(signer) for _ in range(5))


def test_the_raw_rsa_operation_makes_a_signature(shared_tpm, tcti):
    pem = shared_tpm.create(Algorithm.RSA_2048)
    with Signer(tcti, KeySource(pem)) as signer:
        info = SHA256_INFO + DIGEST
        padded = b"\0\1" + b"\xff" * (256 - 3 - len(info)) + b"\0" + info
        signature = signer.raw_rsa(padded)
        signer.public_key().verify(signature, DIGEST, padding.PKCS1v15(), SHA256)
        assert signer.sign(DIGEST, "sha256", "rsassa") == signature
        # A result that begins with zeros keeps its length.
        assert signer.raw_rsa(bytes(255) + b"\1") == bytes(255) + b"\1"


def test_an_ec_key_has_no_raw_operation(shared_tpm, tcti):
    with (
        Signer(tcti, KeySource(shared_tpm.create(Algorithm.EC_P256))) as signer,
        pytest.raises(ConsoleError, match="Key cannot sign"),
    ):
        signer.raw_rsa(bytes(256))


def test_a_key_at_a_handle(shared_tpm, tcti):
    shared_tpm.persist(shared_tpm.create(Algorithm.EC_P256, b"pw", noda=True), 0x81000020)
    try:
        with Signer(tcti, KeySource(handle=0x81000020), b"pw") as signer:
            assert good(signer)
    finally:
        shared_tpm.evict(0x81000020)


def test_what_the_tpm_refuses_is_told_at_once_or_at_the_first_signature(shared_tpm, tcti):
    protected = KeySource(shared_tpm.create(Algorithm.EC_P256, b"pw", noda=True))
    with Signer(tcti, protected, b"wrong") as signer:
        for _ in range(2):
            with pytest.raises(ConsoleError, match="Wrong password"):
                signer.sign(DIGEST, "sha256", "ecdsa")
    with Signer(tcti, protected) as signer, pytest.raises(ConsoleError, match="Password needed"):
        signer.sign(DIGEST, "sha256", "ecdsa")
    with pytest.raises(ConsoleError, match="Not a persistent handle"):
        Signer(tcti, KeySource(handle=1))
    with pytest.raises(ConsoleError, match="Password too long"):
        Signer(tcti, protected, b"p" * 65)


def test_an_unreachable_tpm_is_told(tmp_path, shared_tpm):
    with pytest.raises(ConsoleError) as caught:
        Signer(f"swtpm:path={tmp_path / 'none'}", KeySource(shared_tpm.create(Algorithm.EC_P256)))
    assert caught.value.exit_code is ExitCode.NO_TPM


# In a process of its own, as a session is: GLib has one connection to a bus in each.
SIGNING_PROCESS = """
import hashlib, sys
from pathlib import Path
from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.model import KeySource
from tpmconsole.tpm.signer import Signer

with Signer(sys.argv[1], KeySource(Path(sys.argv[2]).read_bytes())) as signer:
    for line in sys.stdin:
        try:
            signer.sign(hashlib.sha256(b"data").digest(), "sha256", "ecdsa")
            print("signed", flush=True)
        except ConsoleError as error:
            print(error.title, flush=True)
"""


@pytest.mark.parametrize("program", ["tpm2-abrmd", "swtpm"])
def test_outlives_a_restart_of_the_resource_manager(simulator, client, tmp_path, program):
    connection = simulator.ensure()
    tpm = client(simulator.ensure)
    (tmp_path / "key.pem").write_bytes(tpm.create(Algorithm.EC_P256))
    tpm.close()

    def kill() -> None:
        victim = psutil.Process(simulator.pids[program])
        victim.kill()
        wait_until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE)

    process = subprocess.Popen(
        [sys.executable, "-c", SIGNING_PROCESS, connection.tcti, str(tmp_path / "key.pem")],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **connection.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def sign() -> str:
        process.stdin.write("\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    with process:
        assert sign() == "signed"
        kill()
        assert sign() == "No TPM reached"  # nobody has started it again yet
        simulator.ensure()
        assert sign() == "signed"
        kill()
        simulator.ensure()
        assert sign() == "signed"
        process.stdin.close()
    assert process.returncode == 0


def test_nothing_stays_loaded_without_a_resource_manager(alone, client):
    tpm = client(alone.ensure)
    source = KeySource(tpm.create(Algorithm.EC_P256))
    with Signer(alone.connection.tcti, source) as signer:
        assert good(signer)
        assert tpm.health().transient.used == 1
    assert tpm.health().transient.used == 0
    signer.close()


def test_closing_without_the_tpm_is_quiet(alone, client):
    tpm = client(alone.ensure)
    signer = Signer(alone.connection.tcti, KeySource(tpm.create(Algorithm.EC_P256)))
    alone.kill()
    signer.close()


# The context that signer and worker share: patience


def test_a_busy_tpm_is_asked_again(alone, monkeypatch):
    monkeypatch.setattr(context, "PAUSES", (0.0, 0.0, 0.05))
    answers = [0x920, 0x922]

    def work(esapi) -> str:
        if answers:
            raise TSS2_Exception(answers.pop())
        return bytes(esapi.get_random(4)).hex()

    opened = Context(alone.connection.tcti)
    opened.patience_s = 0.2
    assert len(opened.run(work)) == 8

    def never(_: object) -> None:
        raise TSS2_Exception(0x923)

    with pytest.raises(ConsoleError, match="TPM busy"):
        opened.run(never)
    opened.close()


def test_a_locked_out_tpm_is_not_asked_again(alone):
    asked = []

    def work(_: object) -> None:
        asked.append(os.getpid())
        raise TSS2_Exception(0x921)

    with pytest.raises(ConsoleError, match="locked out"):
        Context(alone.connection.tcti).run(work)
    assert len(asked) == 1
