"""A key kept loaded for signatures, as in a session's process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from support.running import python
from support.swtpm import SwtpmAlone, reset_at
from support.waiting import wait_until
from tpm2_pytss import TSS2_Exception

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef
from tpmconsole.tpm.signer import Signer
from tpmconsole.tpm.simulator import Simulator
from tpmconsole.tpm.worker.jobs import context
from tpmconsole.tpm.worker.jobs.context import Context

DIGEST = hashlib.sha256(b"data").digest()
SHA256 = Prehashed(hashes.SHA256())
# RFC 8017, section 9.2, note 1.
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


@pytest.fixture
def signing(shared_simulator: Simulator, tmp_path: Path) -> Callable[..., Signer]:
    """Make signers that use the shared simulator, as a session does."""

    def make(
        source: KeyRef,
        password: bytes | None = None,
        connect: Callable[[], Connection] | None = None,
    ) -> Signer:
        connect = connect or shared_simulator.ensure
        return Signer(connect, source, Auth(password), log=tmp_path / "log")

    return make


def good(signer: Signer) -> bool:
    signature = signer.sign(DIGEST, "sha256", "ecdsa")
    signer.public_key().verify(signature, DIGEST, ec.ECDSA(SHA256))
    return True


def test_signs_again_and_again_with_one_key_loaded(
    shared_tpm: Tpm, signing: Callable[..., Signer]
) -> None:
    pem = shared_tpm.create(Algorithm.EC_P256)
    with signing(KeyRef(pem)) as signer:
        assert signer.public_key() == keyfile.parse(pem).public_key()
        assert all(good(signer) for _ in range(5))


def test_the_raw_rsa_operation_makes_a_signature(
    shared_tpm: Tpm, signing: Callable[..., Signer]
) -> None:
    pem = shared_tpm.create(Algorithm.RSA_2048)
    with signing(KeyRef(pem)) as signer:
        info = SHA256_INFO + DIGEST
        padded = b"\0\1" + b"\xff" * (256 - 3 - len(info)) + b"\0" + info
        signature = signer.raw_rsa(padded)
        signer.public_key().verify(signature, DIGEST, padding.PKCS1v15(), SHA256)
        assert signer.sign(DIGEST, "sha256", "rsassa") == signature
        # A result that begins with zeros keeps its length.
        assert signer.raw_rsa(bytes(255) + b"\1") == bytes(255) + b"\1"


def test_an_ec_key_has_no_raw_operation(shared_tpm: Tpm, signing: Callable[..., Signer]) -> None:
    with (
        signing(KeyRef(shared_tpm.create(Algorithm.EC_P256))) as signer,
        pytest.raises(ConsoleError, match="Key cannot sign"),
    ):
        signer.raw_rsa(bytes(256))


def test_a_key_at_a_handle(shared_tpm: Tpm, signing: Callable[..., Signer]) -> None:
    shared_tpm.persist(shared_tpm.create(Algorithm.EC_P256, Auth(b"pw"), noda=True), 0x81000020)
    try:
        with signing(KeyRef(handle=0x81000020), b"pw") as signer:
            assert good(signer)
    finally:
        shared_tpm.evict(0x81000020)


def test_what_the_tpm_refuses_is_told_at_once_or_at_the_first_signature(
    shared_tpm: Tpm, signing: Callable[..., Signer]
) -> None:
    protected = KeyRef(shared_tpm.create(Algorithm.EC_P256, Auth(b"pw"), noda=True))
    with signing(protected, b"wrong") as signer:
        for _ in range(2):
            with pytest.raises(ConsoleError, match="Wrong password"):
                signer.sign(DIGEST, "sha256", "ecdsa")
    with signing(protected) as signer, pytest.raises(ConsoleError, match="Password needed"):
        signer.sign(DIGEST, "sha256", "ecdsa")
    with pytest.raises(ConsoleError, match="Not a persistent handle"):
        signing(KeyRef(handle=1))
    with pytest.raises(ConsoleError, match="Password too long"):
        signing(protected, b"p" * 65)


def test_an_unreachable_tpm_is_told(
    tmp_path: Path, shared_tpm: Tpm, signing: Callable[..., Signer]
) -> None:
    nowhere = Connection(f"swtpm:path={tmp_path / 'none'}", "test")
    with pytest.raises(ConsoleError) as caught:
        signing(KeyRef(shared_tpm.create(Algorithm.EC_P256)), connect=lambda: nowhere)
    assert caught.value.exit_code is ExitCode.NO_TPM


def _gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return True


@pytest.mark.parametrize("program", ["tpm2-abrmd", "swtpm", "dbus-daemon"])
def test_outlives_a_restart_of_what_leads_to_the_tpm(
    simulator: Simulator, client: Callable[..., Tpm], signing: Callable[..., Signer], program: str
) -> None:
    def kill() -> None:
        victims = [psutil.Process(simulator.pids[program])]
        if program == "dbus-daemon":  # which the resource manager does not outlive
            victims.append(psutil.Process(simulator.pids["tpm2-abrmd"]))
        victims[0].kill()
        for one in victims:
            wait_until(partial(_gone, one))

    connection = simulator.ensure()
    source = KeyRef(client(simulator.ensure).create(Algorithm.EC_P256))
    with signing(source, connect=lambda: connection) as signer:
        assert good(signer)
        kill()
        with pytest.raises(ConsoleError) as caught:  # nobody has started it again yet
            good(signer)
        assert caught.value.exit_code is ExitCode.NO_TPM
        simulator.ensure()
        assert good(signer)
        kill()
        simulator.ensure()
        assert good(signer)


def test_a_reset_takes_the_key_and_it_is_loaded_again(
    simulator: Simulator,
    alone: SwtpmAlone,
    client: Callable[..., Tpm],
    signing: Callable[..., Signer],
) -> None:
    def reset_behind() -> None:
        bus = simulator.ensure().environment["DBUS_SESSION_BUS_ADDRESS"]
        reset_at(Path(bus.removeprefix("unix:path=")).with_name("tpm.sock.ctrl"))

    for there, reset in ((alone, alone.reset), (simulator, reset_behind)):
        source = KeyRef(client(there.ensure).create(Algorithm.EC_P256))
        with signing(source, connect=there.ensure) as signer:
            assert good(signer)
            reset()
            assert good(signer)


def test_nothing_stays_loaded_without_a_resource_manager(
    alone: SwtpmAlone, client: Callable[..., Tpm], signing: Callable[..., Signer]
) -> None:
    tpm = client(alone.ensure)
    source = KeyRef(tpm.create(Algorithm.EC_P256))
    with signing(source, connect=alone.ensure) as signer:
        assert good(signer)
        assert tpm.health().transient.used == 1
    assert tpm.health().transient.used == 0
    signer.close()


def test_a_starter_that_is_killed_leaves_no_key_behind(
    alone: SwtpmAlone, client: Callable[..., Tpm], tmp_path: Path
) -> None:
    tpm = client(alone.ensure)
    (tmp_path / "key.pem").write_bytes(tpm.create(Algorithm.EC_P256))
    holder = python(HOLDS_A_KEY.format(folder=tmp_path, tcti=alone.connection.tcti))
    assert holder.stdout.readline() == "holds it\n"
    assert tpm.health().transient.used == 1
    holder.kill()
    holder.wait()
    wait_until(lambda: tpm.health().transient.used == 0)


def test_a_tpm_that_hangs_is_given_up_and_comes_back(
    alone: SwtpmAlone, client: Callable[..., Tpm], tmp_path: Path
) -> None:
    source = KeyRef(client(alone.ensure).create(Algorithm.EC_P256))
    with Signer(alone.ensure, source, log=tmp_path / "log", deadline_s=0.3) as signer:
        assert good(signer)
        alone.hang()
        with pytest.raises(ConsoleError, match="does not answer"):
            good(signer)
        alone.go_on()
        assert good(signer)


def test_closing_without_the_tpm_is_quiet(
    alone: SwtpmAlone, client: Callable[..., Tpm], signing: Callable[..., Signer]
) -> None:
    source = KeyRef(client(alone.ensure).create(Algorithm.EC_P256))
    signer = signing(source, connect=lambda: alone.connection)
    alone.kill()
    signer.close()


HOLDS_A_KEY = """
import time
from pathlib import Path
from tpmconsole.tpm.model import Connection, KeyRef
from tpmconsole.tpm.signer import Signer
folder = Path("{folder}")
connection = Connection({tcti!r}, "test")
source = KeyRef((folder / "key.pem").read_bytes())
signer = Signer(lambda: connection, source, log=folder / "log")
print("holds it", flush=True)
time.sleep(60)
"""


# The context that signer and worker share: retries


def test_a_busy_tpm_is_asked_again(alone: SwtpmAlone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "PAUSES", (0.0, 0.0, 0.05))
    answers = [0x920, 0x922]

    def work(esapi: Any) -> str:
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


def test_a_locked_out_tpm_is_not_asked_again(alone: SwtpmAlone) -> None:
    asked = []

    def work(_: object) -> None:
        asked.append(os.getpid())
        raise TSS2_Exception(0x921)

    with pytest.raises(ConsoleError, match="locked out"):
        Context(alone.connection.tcti).run(work)
    assert len(asked) == 1
