"""What a board makes sure of before a session starts, or starts again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.pki import Ca
from support.swtpm import SwtpmAlone
from support.waiting import wait_until

from tpmconsole.board import Board
from tpmconsole.board.keys import create_key
from tpmconsole.board.open_key import open_key
from tpmconsole.board.requests import make_request, renew
from tpmconsole.board.sessions import reload, restart, start_session, stop_session, unit
from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError
from tpmconsole.session.directory import SessionConfig, write_order
from tpmconsole.session.spec import Credentials, PasswordFiles, SessionSpec
from tpmconsole.session.status import SessionStatus, State
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.settings import Settings
from tpmconsole.system.files import make_private_folder
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import Algorithm, Connection
from tpmconsole.x509.request_spec import RequestSpec

HANDLE = 0x81000010
SERVER = SessionSpec("server", "gateway", "127.0.0.1", 0)


@pytest.fixture
def board(settings: Callable[..., Settings], alone: SwtpmAlone) -> Iterator[Board]:
    """A board with an identity whose key is at a handle and has a password, ready for sessions."""
    board = Board(settings(tcti=alone.connection.tcti, tcti_source="--tcti"))
    try:
        identity = create_key(board, "gateway", Algorithm.EC_P256, Auth(b"secret"), HANDLE)
        ca = Ca.make("root")
        chain = ca.issue(open_key(board, identity).public, "gateway")
        board.identities.install("gateway", chain, ca.pem)
        yield board
        for facts in board.sessions.list():
            board.sessions.stop(facts.id)
    finally:
        board.close()


def failed_tries(board: Board) -> int:
    lockout = board.status(brief=True).lockout
    assert lockout is not None
    return lockout.failed_tries


def test_no_empty_password_is_tried_for_a_key_that_has_one(board: Board) -> None:
    works: list[Callable[[], object]] = [
        lambda: start_session(board, SERVER),
        lambda: make_request(board, "gateway", RequestSpec("CN=gateway")),
        lambda: renew(board, "gateway"),
    ]
    for work in works:
        with pytest.raises(ConsoleError, match="the key of 'gateway' has a password") as caught:
            work()
        assert (caught.value.title, caught.value.needs) == ("Password needed", "key")
    assert failed_tries(board) == 0
    assert board.sessions.list() == []


def test_a_service_needs_the_password_in_a_file(board: Board) -> None:
    identity = board.identities.get("gateway")
    credentials = Credentials(
        "gateway", board.source(identity), identity.certificate, identity.trust
    )
    tpm = Connection("device:/dev/tpmrm0", "test")
    folder = make_private_folder(board.settings.sessions / "server-1")
    facts = SessionStatus("server-1", "server", "gateway", "", state=State.STOPPED)
    write_order(
        folder, SessionConfig(SERVER, credentials, tpm, EngineChoice("bridge", ""), ""), facts
    )
    with pytest.raises(ConsoleError, match="no one types it at every boot"):
        unit(board, "server-1", PasswordFiles(owner=Path("/etc/owner")))
    wanted = unit(board, "server-1", PasswordFiles(Path("/etc/password"))).unit
    assert wanted is not None
    assert ("StandardInput", "file:/etc/password") in wanted.service
    board.sessions.hand_over("server-1")
    with pytest.raises(ConsoleError, match="systemd runs server-1") as caught:
        restart(board, "server-1", Auth(b"secret", spend_last_attempt=False))
    assert f"systemctl restart {wanted.name}" in say(caught.value.remedy)


def test_a_restart_ends_no_session_that_it_cannot_start_again(board: Board) -> None:
    first = start_session(board, SERVER, Auth(b"secret"))
    for password, words in ((None, "has a password"), (b"wrong", "refused the password")):
        with pytest.raises(ConsoleError, match=words) as caught:
            restart(board, first.id, Auth(password, spend_last_attempt=False))
        assert caught.value.needs == "key"
    assert failed_tries(board) == 1
    assert board.sessions.show(first.id).pid == first.pid
    assert board.sessions.show(first.id).state == State.RUNNING
    second = restart(board, first.id, Auth(b"secret", spend_last_attempt=False))
    assert (second.id, second.state) == ("server-2", State.RUNNING)
    assert board.sessions.show(first.id).state == State.STOPPED


def test_a_session_is_stopped_while_it_starts(board: Board) -> None:
    with ThreadPoolExecutor(1) as thread:
        start = thread.submit(start_session, board, SERVER, Auth(b"secret"))
        wait_until(board.sessions.list)
        stopped = stop_session(board, "server-1")
        with pytest.raises(ConsoleError, match=r"was stopped while|gave no reason"):
            start.result()
    assert stopped.state == State.STOPPED
    assert not Path(f"/proc/{stopped.pid}/exe").exists()
    assert not board.sessions.any_running()


def test_a_session_whose_key_is_gone_is_not_reloaded(board: Board) -> None:
    for name in ("filed", "other"):
        create_key(board, name, Algorithm.EC_P256)
    identity, other = board.identities.get("filed"), board.identities.get("other")
    ca = Ca.make("root")
    board.identities.install("filed", ca.issue(open_key(board, identity).public, "filed"), ca.pem)
    facts = start_session(board, SessionSpec("server", "filed", "127.0.0.1", 0))
    file = identity.folder / "key.pem"
    key = file.read_bytes()
    assert reload(board, facts.id).state == State.RUNNING
    file.unlink()
    with pytest.raises(ConsoleError, match="keeps using what it read before") as gone:
        reload(board, facts.id)
    assert str(file) in gone.value.cause
    file.write_bytes((other.folder / "key.pem").read_bytes())
    with pytest.raises(ConsoleError, match="Key changed"):
        reload(board, facts.id)
    assert board.sessions.show(facts.id).state == State.RUNNING
    file.write_bytes(key)
    assert reload(board, facts.id).state == State.RUNNING


def test_of_no_sessions_none_is_offered(board: Board) -> None:
    with pytest.raises(ConsoleError, match="there is no session 'nothing', nor any other") as found:
        stop_session(board, "nothing")
    assert say(found.value.remedy).startswith("start one: tpmconsole session start server NAME")
