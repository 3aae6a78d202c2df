"""An identity is tied to the key that it was given: no command takes another in its place."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.pki import Ca
from support.swtpm import SwtpmAlone
from support.technician import console

from tpmconsole.board import Board
from tpmconsole.board.adopt import adopt_handle
from tpmconsole.board.certificates import demo_sign, install_certificate, judge_certificate
from tpmconsole.board.doctor import Surroundings, examine
from tpmconsole.board.doctor.probes import PROBES
from tpmconsole.board.keys import create_key, persist, software_key
from tpmconsole.board.open_key import open_key
from tpmconsole.board.requests import make_request, preview_request, renew, same_request
from tpmconsole.board.sessions import install, restart, start_session, stop_session
from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.finding import Finding
from tpmconsole.identity.pin import Pin
from tpmconsole.identity.store import Identity
from tpmconsole.session.directory import SessionConfig, write_order
from tpmconsole.session.spec import Credentials, PasswordFiles, SessionSpec
from tpmconsole.session.status import SessionStatus, State
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.settings import Settings
from tpmconsole.system.files import make_private_folder
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef
from tpmconsole.x509.judge import Judgement
from tpmconsole.x509.names import key_fingerprint
from tpmconsole.x509.request_spec import RequestSpec

HANDLE = 0x81000010
SPEC = RequestSpec("CN=gateway", ("dns:localhost",), "both")
SERVER = SessionSpec("server", "gateway", "127.0.0.1", 0, engine="bridge")
CA = Ca.make("root")


@pytest.fixture
def board(settings: Callable[..., Settings], alone: SwtpmAlone) -> Iterator[Board]:
    board = Board(settings(tcti=alone.connection.tcti, tcti_source="--tcti"))
    yield board
    for facts in board.sessions.list():
        stop_session(board, facts.id)
    board.close()


@pytest.fixture
def stolen(tmp_path: Path) -> Path:
    """A thief's private key, outside any TPM."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "his.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def _his(board: Board, stolen: Path) -> bytes:
    """A key file of the thief's key."""
    found = software_key(stolen)
    return board.tpm.import_key(found.pkcs8, found.algorithm)


def _exchange(board: Board, pem: bytes) -> None:
    """Replace the key of 'gateway', as anyone can who may use the TPM or write the folder."""
    identity = board.identities.get("gateway")
    if identity.handle is None:
        (identity.folder / "key.pem").write_bytes(pem)
    else:
        board.tpm.evict(identity.handle)
        board.tpm.persist(pem, identity.handle)


def _certificate(board: Board) -> bytes:
    return CA.issue(open_key(board, board.identities.get("gateway")).public, "gateway")


def _ready(board: Board, handle: int | None = None) -> None:
    """An identity with everything that a session needs."""
    create_key(board, "gateway", Algorithm.EC_P256, handle=handle)
    make_request(board, "gateway", SPEC)
    install_certificate(board, "gateway", _judged(board, _certificate(board)))


def _judged(board: Board, certificate: bytes) -> Judgement:
    return judge_certificate(board, "gateway", [certificate], CA.pem, "both")


def _origin(judgement: Judgement) -> Finding:
    (found,) = [one for one in judgement.verdicts if one.name == "key-origin"]
    return found


def _doctor(board: Board) -> Finding:
    probes = [one for one in PROBES if one.name == "keys"]
    (found,) = examine(board, around=Surroundings(environment={}), probes=probes)
    return found


def _session_of_a_chip(board: Board) -> str:
    """A session that has ended, and could be a service."""
    identity = board.identities.get("gateway")
    credentials = Credentials(
        "gateway", board.source(identity), identity.certificate, identity.trust
    )
    folder = make_private_folder(board.settings.sessions / "server-9")
    facts = SessionStatus("server-9", "server", "gateway", "", state=State.STOPPED)
    chip, engine = Connection("device:/dev/tpmrm0", "test"), EngineChoice("bridge", "")
    write_order(folder, SessionConfig(SERVER, credentials, chip, engine, ""), facts)
    return "server-9"


def _refused(work: Callable[[], object]) -> ConsoleError:
    with pytest.raises(ConsoleError, match="Key changed") as caught:
        work()
    assert caught.value.exit_code is ExitCode.REFUSED
    return caught.value


@pytest.mark.parametrize("handle", [None, HANDLE], ids=["file", "handle"])
@pytest.mark.attacks(
    "the key of an identity exchanged", "Key changed, in every command and on page 3"
)
async def test_an_exchanged_key_is_refused_everywhere(
    board: Board, stolen: Path, handle: int | None
) -> None:
    _ready(board, handle)
    was = key_fingerprint(open_key(board, board.identities.get("gateway")).public)
    server = start_session(board, SERVER)
    judgement = _judged(board, _certificate(board))
    request = board.identities.get("gateway").request.read_bytes()
    pem = _his(board, stolen)
    _exchange(board, pem)
    his = keyfile.parse(pem).public_key()
    works: list[Callable[[], object]] = [
        lambda: make_request(board, "gateway", SPEC),
        lambda: preview_request(board, "gateway", SPEC),
        lambda: same_request(board, "gateway", SPEC),
        lambda: renew(board, "gateway"),
        lambda: _judged(board, CA.issue(his, "gateway")),
        lambda: install_certificate(board, "gateway", judgement),
        lambda: demo_sign(board, "gateway"),
        lambda: start_session(board, SERVER),
        lambda: restart(board, server.id, Auth()),
    ]
    if handle is None:
        works.append(lambda: persist(board, "gateway", HANDLE))
    for work in works:
        error = _refused(work)
        assert was[:16] in error.cause
        assert key_fingerprint(his)[:16] in error.cause
        assert str(board.identities.get("gateway").folder) in error.cause
        assert ("such as the group tss" in error.cause) is (handle is not None)
        assert "tpmconsole forget gateway" in say(error.remedy)
    assert board.identities.get("gateway").request.read_bytes() == request
    # A running session keeps its checked key: it is not ended for a start that would fail.
    assert board.sessions.show(server.id).state == State.RUNNING
    stop_session(board, server.id)
    _refused(lambda: install(board, _session_of_a_chip(board), PasswordFiles()))

    found = _doctor(board)
    assert (found.state, "Key changed" in found.text) == ("fail", True)
    async with console(board.settings) as technician:
        await technician.press("3")
        await technician.sees(f"was {was[:16]}")
        await technician.sees("x: forget it; then n: a new key")
        assert "Request" not in technician.screen().splitlines()[-1]
    # A new key is the way out, and takes nothing of the old one.
    assert renew(board, "gateway", new_name="gateway-2")


@pytest.mark.attacks("a session's key exchanged", "it does not start again")
def test_the_session_itself_refuses_a_key_that_is_exchanged_before_it_starts_again(
    board: Board, stolen: Path
) -> None:
    """As at boot, when no command checks: key and certificate no longer belong together."""
    _ready(board, HANDLE)
    identity = board.identities.get("gateway")
    path = identity.folder / "identity.toml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(one for one in lines if not one.startswith("key_")))
    assert board.identities.get("gateway").pin is None
    _exchange(board, _his(board, stolen))
    with pytest.raises(ConsoleError, match="certificate") as caught:
        start_session(board, SERVER)
    assert caught.value.title != "Key changed"


@pytest.mark.parametrize("handle", [None, HANDLE], ids=["file", "handle"])
def test_what_is_noted_is_what_the_tpm_says(board: Board, stolen: Path, handle: int | None) -> None:
    made = create_key(board, "gateway", Algorithm.EC_P256, handle=handle)
    taken = create_key(board, "taken", software_key(stolen))
    for identity, origin in ((made, "tpm"), (taken, "imported")):
        noted = tomllib.loads((identity.folder / "identity.toml").read_text())
        area = board.tpm.read_public(board.source(identity))
        assert noted["key_name"] == area.name.hex()
        assert noted["key_sha256"] == key_fingerprint(area.public_key())
        assert identity.pin == Pin(noted["key_name"], noted["key_sha256"])
        assert noted["origin"] == origin
    assert [one.name for one in board.tpm.persistent_keys()] == (
        [_noted_name(made)] if handle is not None else []
    )


def _noted_name(identity: Identity) -> str:
    assert identity.pin is not None
    return identity.pin.name


def test_a_key_keeps_its_pin_when_it_is_moved_and_when_a_request_is_made(board: Board) -> None:
    pin = create_key(board, "gateway", Algorithm.EC_P256).pin
    make_request(board, "gateway", SPEC)
    assert board.identities.get("gateway").pin == pin
    assert persist(board, "gateway", HANDLE).pin == pin
    make_request(board, "gateway", SPEC)
    assert _doctor(board).state == "ok"


def test_the_same_public_key_with_other_attributes_is_another_key(
    board: Board, stolen: Path
) -> None:
    """Such as an imported key, imported once more so that no wrong password counts."""
    found = software_key(stolen)
    create_key(board, "gateway", found, Auth(b"secret"), HANDLE)
    open_one = board.tpm.import_key(software_key(stolen).pkcs8, found.algorithm)
    _exchange(board, open_one)
    error = _refused(lambda: make_request(board, "gateway", SPEC, Auth(b"secret")))
    assert "has other attributes: its Name was" in error.cause


def test_an_adopted_key_is_as_tied_to_its_identity_as_one_made_here(
    board: Board, stolen: Path
) -> None:
    board.tpm.persist(board.tpm.create(Algorithm.EC_P256, Auth(b"secret")), HANDLE)
    with pytest.raises(ConsoleError, match="password") as caught:
        adopt_handle(board, "gateway", HANDLE, Auth(b"wrong"))
    assert (caught.value.title, caught.value.needs) == ("Key not adopted", "key")
    assert board.identities.names() == []
    identity = adopt_handle(board, "gateway", HANDLE, Auth(b"secret"))
    found = (identity.origin, identity.algorithm, identity.auth, identity.handle)
    assert found == ("adopted", "ec-p256", "password", HANDLE)
    assert [_noted_name(identity)] == [one.name for one in board.tpm.persistent_keys()]
    with pytest.raises(ConsoleError, match="identity 'gateway' has its key at 0x81000010"):
        adopt_handle(board, "other", HANDLE, Auth(b"secret"))
    make_request(board, "gateway", SPEC, Auth(b"secret"))
    assert _origin(_judged(board, _certificate(board))).state == "ok"
    _exchange(board, _his(board, stolen))
    _refused(lambda: make_request(board, "gateway", SPEC, Auth(b"secret")))


def test_an_adopted_key_that_may_have_been_outside_draws_a_warning(
    board: Board, stolen: Path
) -> None:
    board.tpm.persist(_his(board, stolen), HANDLE)
    adopt_handle(board, "gateway", HANDLE)
    found = _origin(_judged(board, _certificate(board)))
    assert found.state == "warn"
    assert "may have existed outside the TPM" in found.text


def test_where_a_key_is_from_is_a_verdict(board: Board, stolen: Path) -> None:
    create_key(board, "gateway", Algorithm.EC_P256)
    found = _origin(_judged(board, _certificate(board)))
    assert (found.state, found.text) == ("ok", "the TPM made the key, and it never leaves it")

    create_key(board, "taken", software_key(stolen))
    public = open_key(board, board.identities.get("taken")).public
    judgement = judge_certificate(board, "taken", [CA.issue(public, "taken")], CA.pem, "both")
    found = _origin(judgement)
    assert found.state == "warn"
    assert "the key existed outside the TPM" in found.text
    for attribute in ("fixedTPM", "fixedParent", "sensitiveDataOrigin"):
        assert attribute in found.text
    assert judgement.acceptable


@pytest.mark.parametrize("handle", [None, HANDLE], ids=["file", "handle"])
@pytest.mark.attacks(
    "a record that says the TPM made it", "key-origin fails: the TPM says otherwise"
)
def test_a_record_that_says_more_than_the_tpm_is_no_good(
    board: Board, stolen: Path, handle: int | None
) -> None:
    identity = create_key(board, "gateway", software_key(stolen), handle=handle)
    path = identity.folder / "identity.toml"
    path.write_text(path.read_text().replace('origin = "imported"', 'origin = "tpm"'))
    judgement = _judged(board, _certificate(board))
    assert _origin(judgement).state == "fail"
    assert not judgement.acceptable
    with pytest.raises(ConsoleError, match="Certificate refused"):
        install_certificate(board, "gateway", judgement)
    assert _doctor(board).state == "fail"


def test_before_a_password_is_given_the_verdict_costs_no_try(board: Board) -> None:
    create_key(board, "gateway", Algorithm.EC_P256, Auth(b"secret"))
    judgement = _judged(board, _certificate(board))
    states = {one.name: one.state for one in judgement.verdicts}
    assert (states["key-origin"], states["key-proof"]) == ("ok", "warn")
    lockout = board.status(brief=True).lockout
    assert lockout is not None
    assert lockout.failed_tries == 0


def test_an_identity_without_a_pin_works_and_the_doctor_says_so(board: Board) -> None:
    made = create_key(board, "other", Algorithm.EC_P256)
    folder = board.settings.identities / "gateway"
    folder.mkdir(mode=0o700)
    (folder / "key.pem").write_bytes(made.key_pem or b"")
    (folder / "identity.toml").write_text(
        'algorithm = "ec-p256"\ncreated = "2026-01-01T00:00:00+00:00"\nauth = "none"\n'
    )
    board.identities.remove("other")
    assert _doctor(board).state == "warn"
    make_request(board, "gateway", SPEC)
    found = _doctor(board)  # and the present key was not pinned in passing
    assert (found.state, "not pinned" in found.text) == ("warn", True)
    assert "tpmconsole create" in say(found.remedy)
    with (folder / "identity.toml").open("a") as file:
        file.write('key_sha256 = "abc"\n')
    assert board.identities.get("gateway").pin is None
    assert "pin of its key" in (board.identities.get("gateway").problem or "")


def test_a_handle_that_is_empty_or_holds_a_key_of_another_kind(board: Board) -> None:
    create_key(board, "gateway", Algorithm.EC_P256, handle=HANDLE)
    board.tpm.evict(HANDLE)
    with pytest.raises(ConsoleError, match="there is nothing at 0x81000010"):
        make_request(board, "gateway", SPEC)
    assert _doctor(board).state == "skipped"
    board.tpm.persist(board.tpm.create(Algorithm.RSA_2048), HANDLE)
    _refused(lambda: make_request(board, "gateway", SPEC))
    assert board.tpm.read_public(KeyRef(handle=HANDLE)).algorithm == "RSA 2048"
