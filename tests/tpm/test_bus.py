"""What can be read between the worker and the TPM, and what something between them can get."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.proxy import CREATE, CREATE_PRIMARY, FLUSH_CONTEXT, SIGN, PassOn, Proxy, code_of
from support.key_answers import HANDLE, answer, tries
from support.parent import PASSWORD as PARENT_PASSWORD
from support.parent import key_below, make_parent
from support.swtpm import SwtpmAlone, reset_at
from support.tpm_capture import captured, commands
from tpm2_pytss import ESAPI, ESYS_TR, TPM2_ALG, TPM2_CAP, TPMT_SIG_SCHEME
from tpm2_pytss.tsskey import TSSPrivKey

from tpmconsole.board import Board, storage_names
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.secret import Secret
from tpmconsole.settings import Settings
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef
from tpmconsole.tpm.signer import Signer
from tpmconsole.tpm.simulator import Simulator
from tpmconsole.tpm.worker.jobs import JOBS, salted
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.primary_keys import flushed, make_primary
from tpmconsole.tpm.worker.jobs.templates import storage_key

IMPORT, START_SESSION = 0x156, 0x176
PARENT = 0x81000005
KEY, OWNER, LOCKOUT = b"kEy-7f3a9", b"oWn-7f3a9", b"lCk-7f3a9"
DIGEST = bytes(32)
OPENSSL = ("/usr/bin/openssl", "genpkey", "-algorithm", "EC")


class Between:
    """Something on the bus that keeps all it sees."""

    def __init__(self, swtpm: SwtpmAlone) -> None:
        self.seen = b""
        self.proxy = Proxy(swtpm.folder / "between", swtpm.folder / "sock")
        self.proxy.spoil(self.read)

    def read(self, command: bytes, pass_on: PassOn) -> bytes:
        response = pass_on(command)
        self.seen += command + response
        return response

    def connection(self) -> Connection:
        return Connection(self.proxy.tcti, "the test's own")


@pytest.fixture
def between(alone: SwtpmAlone) -> Iterator[Between]:
    made = Between(alone)
    yield made
    made.proxy.close()


@pytest.fixture
def tpm(between: Between, client: Callable[..., Tpm]) -> Tpm:
    """A client whose every command is read."""
    return client(between.connection)


@pytest.fixture(scope="module")
def pkcs8() -> bytes:
    done = subprocess.run(
        [*OPENSSL, "-pkeyopt", "group:P-256", "-outform", "DER"],
        capture_output=True,
        check=True,
    )
    return done.stdout


def close_hierarchies(alone: SwtpmAlone) -> None:
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, OWNER)
        esapi.hierarchy_change_auth(ESYS_TR.LOCKOUT, LOCKOUT)


# A reader of the bus


@pytest.mark.attacks("a reader of the bus: a key's password", "not in any byte")
def test_no_password_of_a_key_crosses_the_bus(
    tpm: Tpm, between: Between, pkcs8: bytes, tmp_path: Path
) -> None:
    made = tpm.create(Algorithm.EC_P256, Auth(KEY))
    given = tpm.import_key(Secret(pkcs8), Algorithm.EC_P256, Auth(KEY))
    rsa = tpm.create(Algorithm.RSA_2048, Auth(KEY))
    for pem in (made, given, rsa):
        assert answer(tpm, pem, KEY) == "yes"
    tpm.persist(made, HANDLE)
    tpm.sign(KeyRef(handle=HANDLE), DIGEST, "sha256", "ecdsa", Auth(KEY))
    with Signer(between.connection, KeyRef(rsa), Auth(KEY), log=tmp_path / "log") as signer:
        signer.raw_rsa(bytes(255) + b"\1")
    assert between.seen
    assert KEY not in between.seen


@pytest.mark.attacks("a reader of the bus: a hierarchy's password", "not in any byte")
def test_no_password_of_a_hierarchy_crosses_the_bus(
    tpm: Tpm, between: Between, alone: SwtpmAlone, pkcs8: bytes
) -> None:
    close_hierarchies(alone)
    auth = Auth(KEY, owner=OWNER)
    pem = tpm.create(Algorithm.EC_P256, auth)
    assert tpm.check_key(KeyRef(pem), auth).usable
    tpm.import_key(Secret(pkcs8), Algorithm.EC_P256, auth)
    tpm.persist(pem, HANDLE, auth)
    # Without the owner's password the storage key cannot be made: its session is salted otherwise.
    tpm.sign(KeyRef(handle=HANDLE), DIGEST, "sha256", "ecdsa", Auth(KEY))
    tpm.evict(HANDLE, Auth(owner=OWNER))
    tpm.reset_lockout(LOCKOUT)
    assert tpm.health().transient.used == 0
    for password in (KEY, OWNER, LOCKOUT):
        assert password not in between.seen


@pytest.mark.attacks("a reader of the bus: a parent's password", "not in any byte")
def test_no_password_of_a_parent_crosses_the_bus(
    tpm: Tpm, between: Between, alone: SwtpmAlone
) -> None:
    make_parent(alone.connection, PARENT)
    pem = key_below(alone.connection, PARENT)
    assert tpm.check_key(KeyRef(pem), Auth(parent=PARENT_PASSWORD)).usable
    assert PARENT_PASSWORD not in between.seen


def test_a_wrong_password_costs_what_it_did(tpm: Tpm, alone: SwtpmAlone) -> None:
    counted = tpm.create(Algorithm.EC_P256, Auth(KEY))
    free = tpm.create(Algorithm.EC_P256, Auth(KEY), noda=True)
    for pem, cost in ((free, 0), (counted, 1)):
        before = tries(tpm)
        assert answer(tpm, pem, b"wrong") == "wrong-password"
        assert tries(tpm) == before + cost
        assert answer(tpm, pem, KEY) == "yes"


def test_the_tss_uses_a_key_with_the_same_password(tpm: Tpm, alone: SwtpmAlone) -> None:
    scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.ECDSA)
    scheme.details.any.hashAlg = TPM2_ALG.SHA256
    for password in (b"p", b"p" * 32, b"p" * 33, b"p" * 64, b"p\0\0", b"\0p"):
        pem = tpm.create(Algorithm.EC_P256, Auth(password), noda=True)
        assert answer(tpm, pem, password) == "yes"
        with ESAPI(alone.connection.tcti) as esapi:
            key = TSSPrivKey.from_pem(pem).load(esapi, password)
            assert esapi.sign(key, DIGEST, scheme)
            esapi.flush_context(key)


# Something that answers in the TPM's place


class Impostor:
    """Answers TPM2_CreatePrimary with a key that it has, and passes on all the rest."""

    def __init__(self, own: Path) -> None:
        self._own = own
        self.seen: list[int] = []

    def fault(self, command: bytes, pass_on: PassOn) -> bytes:
        self.seen.append(code_of(command))
        if code_of(command) == FLUSH_CONTEXT:  # the TPM itself says that it does not have the key
            self._ask(command)
        return self._ask(command) if code_of(command) == CREATE_PRIMARY else pass_on(command)

    def _ask(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as own:
            own.connect(os.fspath(self._own))
            own.sendall(command)
            return own.recv(4096)


@pytest.fixture
def other() -> Iterator[SwtpmAlone]:
    """Another TPM."""
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as folder:
        swtpm = SwtpmAlone(Path(folder))
        swtpm.start()
        yield swtpm
        swtpm.kill()


@pytest.mark.attacks(
    "an interposer answers CreatePrimary", "TPM changed; nothing is wrapped for it"
)
def test_nothing_is_wrapped_for_a_key_in_the_storage_key_s_place(
    tpm: Tpm, between: Between, other: SwtpmAlone, pkcs8: bytes
) -> None:
    pem = tpm.create(Algorithm.EC_P256, Auth(KEY))
    impostor = Impostor(other.folder / "sock")
    between.proxy.spoil(impostor.fault)
    calls: tuple[Callable[[], object], ...] = (
        lambda: tpm.import_key(Secret(pkcs8), Algorithm.EC_P256, Auth(KEY)),
        lambda: tpm.create(Algorithm.EC_P256, Auth(KEY)),
    )
    for call in calls:
        with pytest.raises(ConsoleError, match="replaced or cleared, or something") as caught:
            call()
        assert (caught.value.title, caught.value.exit_code) == ("TPM changed", ExitCode.REFUSED)
    assert not {IMPORT, CREATE, START_SESSION} & set(impostor.seen)
    # A key without a password reveals nothing, so its error is the usual one.
    between.proxy.spoil(between.read)
    assert answer(tpm, pem, KEY) == "yes"


@pytest.mark.attacks("the TPM is exchanged between two runs", "TPM changed")
def test_another_tpm_is_told_also_by_the_next_console(
    state: Path, alone: SwtpmAlone, other: SwtpmAlone, pkcs8: bytes
) -> None:
    settings = Settings(state, tcti=alone.connection.tcti)
    board = Board(settings)
    pem = board.tpm.create(Algorithm.EC_P256, Auth(KEY))
    board.close()
    alone.kill()
    for name in ("sock", "sock.ctrl"):
        (alone.folder / name).unlink(missing_ok=True)
        (alone.folder / name).symlink_to(other.folder / name)
    board = Board(settings)
    with pytest.raises(ConsoleError, match="TPM changed") as caught:
        board.tpm.import_key(Secret(pkcs8), Algorithm.EC_P256)
    names = state / "storage-names.json"
    assert names.name in str(caught.value.remedy)
    # Another TPM's key is still refused with the TPM's own answer.
    assert answer(board.tpm, pem, KEY) == "not-this-tpm"
    names.unlink()
    board.close()
    board = Board(settings)
    assert board.tpm.create(Algorithm.EC_P256)
    assert names.exists()
    board.close()


@pytest.mark.parametrize("damage", ["", "[]", '{"swtpm:path=x": 1}', "\0"])
def test_a_damaged_record_of_storage_keys_is_as_none(tmp_path: Path, damage: str | bytes) -> None:
    connection = Connection("device:/dev/tpmrm0", "test", storage_name="000b1234")
    (tmp_path / "storage-names.json").write_text(damage)
    assert storage_names.with_name(tmp_path, connection).storage_name == ""
    storage_names.remember(tmp_path, connection)
    unknown = Connection("device:/dev/tpmrm0", "test")
    assert storage_names.with_name(tmp_path, unknown).storage_name == "000b1234"
    other = Connection("device:/dev/tpmrm1", "test")
    assert storage_names.with_name(tmp_path, other).storage_name == ""


@pytest.mark.attacks("an answer changed on the way", "refused")
def test_an_answer_that_was_changed_is_none(tpm: Tpm, between: Between) -> None:
    pem = tpm.create(Algorithm.EC_P256, Auth(KEY))

    def changed(command: bytes, pass_on: PassOn) -> bytes:
        response = between.read(command, pass_on)
        if code_of(command) != SIGN or len(response) < 41:  # "later", when it counts tries
            return response
        return response[:40] + bytes([response[40] ^ 1]) + response[41:]

    between.proxy.spoil(changed)
    with pytest.raises(ConsoleError, match="changed on the way") as caught:
        tpm.sign(KeyRef(pem), DIGEST, "sha256", "ecdsa", Auth(KEY))
    assert caught.value.exit_code is ExitCode.NO_TPM
    between.proxy.spoil(between.read)
    # The session is a new one: the right password is not taken for a wrong one.
    assert answer(tpm, pem, KEY) == "yes"
    assert tries(tpm) == 0


def test_a_session_is_salted_by_an_rsa_key_too(alone: SwtpmAlone) -> None:
    context = Context(alone.connection.tcti)

    def work(esapi: Any) -> None:
        with flushed(esapi, make_primary(esapi, ESYS_TR.OWNER, storage_key(rsa=True))) as key:
            salted.salt_with(esapi, key)
        salted.keep(esapi)
        salted.close(esapi)

    context.run(work)
    context.close()
    assert sessions_open(alone) == 0


# What it costs, and what is left


@pytest.mark.parametrize("password", [None, KEY])
def test_a_held_key_signs_with_one_command(
    alone: SwtpmAlone, client: Callable[..., Tpm], tmp_path: Path, password: bytes | None
) -> None:
    file = tmp_path / "tpm.pcap"
    pem = client(alone.ensure).create(Algorithm.EC_P256, Auth(password))
    connection = captured(alone.connection, file)
    log = tmp_path / "log"
    with Signer(lambda: connection, KeyRef(pem), Auth(password), log=log) as signer:
        signer.sign(DIGEST, "sha256", "ecdsa")
        before = commands(file)
        assert before.count("StartAuthSession") == (1 if password else 0)
        for _ in range(3):
            signer.sign(DIGEST, "sha256", "ecdsa")
        assert commands(file)[len(before) :] == ["Sign"] * 3


def sessions_open(swtpm: SwtpmAlone) -> int:
    with ESAPI(swtpm.connection.tcti) as esapi:
        _, data = esapi.get_capability(TPM2_CAP.HANDLES, 0x02000000, 8)
        return len(list(data.data.handles))


def test_no_session_is_left_in_the_tpm(alone: SwtpmAlone, client: Callable[..., Tpm]) -> None:
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256, Auth(KEY))
    assert sessions_open(alone) == 1
    tpm.close()
    assert sessions_open(alone) == 0
    killed = client(alone.ensure)
    assert answer(killed, pem, KEY) == "yes"
    os.kill(killed.worker_pid, signal.SIGKILL)
    assert killed.health().transient.used == 0
    assert sessions_open(alone) == 0
    assert answer(killed, pem, KEY) == "yes"


def test_a_session_that_rests_is_put_away_and_a_held_key_s_is_kept(alone: SwtpmAlone) -> None:
    context = Context(alone.connection.tcti)
    auth = {"key": Secret(KEY), "parent": None, "owner": None, "spend_last_attempt": True}
    pem = JOBS["create"](context, "ec-p256", auth, noda=False)
    context.rest(keep=False)
    assert sessions_open(alone) == 0
    key = {"source": {"pem": pem, "handle": None}, "auth": auth}
    for _ in range(2):
        assert JOBS["held_sign"](context, key, DIGEST, "sha256", "ecdsa")
        context.rest(keep=True)
        assert sessions_open(alone) == 1
    JOBS["held_release"](context)
    context.rest(keep=False)
    context.close()
    assert sessions_open(alone) == 0


def test_a_reset_takes_the_session_and_another_one_is_opened(
    simulator: Simulator, alone: SwtpmAlone, client: Callable[..., Tpm], tmp_path: Path
) -> None:
    def reset_behind() -> None:
        bus = simulator.ensure().environment["DBUS_SESSION_BUS_ADDRESS"]
        reset_at(Path(bus.removeprefix("unix:path=")).with_name("tpm.sock.ctrl"))

    for there, reset in ((alone, alone.reset), (simulator, reset_behind)):
        tpm = client(there.ensure)
        source = KeyRef(tpm.create(Algorithm.EC_P256, Auth(KEY)))
        with Signer(there.ensure, source, Auth(KEY), log=tmp_path / "log") as signer:
            signer.sign(DIGEST, "sha256", "ecdsa")
            reset()
            before = tries(tpm)  # a power cut itself costs one
            signer.sign(DIGEST, "sha256", "ecdsa")
        assert answer(tpm, source.pem, KEY) == "yes"
        assert tpm.create(Algorithm.EC_P256, Auth(KEY))
        assert tries(tpm) == before
