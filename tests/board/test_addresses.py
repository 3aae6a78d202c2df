"""A certificate's names beside the sessions that are here: where a server is reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from support.pki import Ca

from tpmconsole.board import Board
from tpmconsole.board.addresses import reached_at
from tpmconsole.board.certificates import install_certificate, judge_certificate
from tpmconsole.board.doctor import Surroundings, examine
from tpmconsole.board.doctor.probes import PROBES
from tpmconsole.board.keys import create_key
from tpmconsole.board.open_key import open_key
from tpmconsole.board.requests import make_request
from tpmconsole.board.sessions import start_session, stop_session
from tpmconsole.finding import Finding
from tpmconsole.session.spec import SessionSpec
from tpmconsole.session.status import SessionStatus
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm
from tpmconsole.x509.judge import Judgement
from tpmconsole.x509.request_spec import RequestSpec
from tpmconsole.x509.san import Reached

CA = Ca.make("root")


@pytest.fixture
def board(settings: Callable[..., Settings]) -> Iterator[Board]:
    board = Board(settings(simulate=True))
    for name in ("gateway", "pump"):
        create_key(board, name, Algorithm.EC_P256)
        make_request(board, name, RequestSpec(f"CN={name}", ("dns:localhost",), "both"))
        install_certificate(board, name, _judged(board, name, ["localhost"]))
    yield board
    for facts in board.sessions.list():
        stop_session(board, facts.id)
    board.close(leave=True)


def _judged(board: Board, name: str, hosts: Sequence[str]) -> Judgement:
    key = open_key(board, board.identities.get(name)).public
    chain = CA.issue(key, name, hosts=tuple(hosts))
    return judge_certificate(board, name, [chain], CA.pem, "both")


def _san(board: Board, *hosts: str) -> Finding:
    (found,) = [one for one in _judged(board, "gateway", hosts).verdicts if one.name == "san"]
    return found


def _serve(board: Board, host: str, name: str = "gateway") -> SessionStatus:
    return start_session(board, SessionSpec("server", name, host, 0, engine="bridge"))


def _doctor(board: Board) -> dict[str, Finding]:
    probes = [one for one in PROBES if one.name == "certificate"]
    found = examine(board, around=Surroundings(environment={}), probes=probes)
    return {one.text.partition(":")[0]: one for one in found}


def test_the_address_of_a_running_server_is_compared(board: Board) -> None:
    assert _san(board, "localhost").state == "ok"
    server = _serve(board, "127.0.0.1")
    found = _san(board, "localhost")
    assert found.state == "warn"
    assert f"does not name 127.0.0.1, where {server.id} listens" in found.text
    assert _san(board, "localhost", "127.0.0.1").state == "ok"
    assert _san(board, "127.0.0.2").state == "warn"
    told = _doctor(board)
    assert "warn san: it does not name 127.0.0.1" in " ".join(told["gateway"].evidence)
    assert "ok san:" in " ".join(told["pump"].evidence)  # another identity's server
    stop_session(board, server.id)
    assert _san(board, "localhost").state == "ok"


def test_a_server_on_every_address_is_known_by_its_clients_alone(board: Board) -> None:
    for host in ("0.0.0.0", "::"):  # noqa: S104
        server = _serve(board, host)
        assert reached_at(board, "gateway") == []
        assert _san(board, "elsewhere.example").state == "ok"
        stop_session(board, server.id)
    server = _serve(board, "0.0.0.0")  # noqa: S104
    port = int(server.address.rpartition(":")[2])
    client = start_session(board, SessionSpec("client", "pump", "localhost", port, engine="bridge"))
    words = f"where {client.id} connects to {server.id}"
    assert reached_at(board, "gateway") == [Reached("localhost", words)]
    assert words in _san(board, "elsewhere.example").text
    assert _san(board, "localhost").state == "ok"
