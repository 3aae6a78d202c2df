"""Sessions from start to end: real processes, a real (simulated) TPM, real sockets."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from pathlib import Path

import pytest
from support.waiting import wait_until
from support.world import SoftwareServer, World, connected, port_of, say

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session import directory
from tpmconsole.session.directory import KEY_FILE, ORDER_FILE, STATE
from tpmconsole.session.events import FILE
from tpmconsole.session.manager import ENDED_KEPT, SessionManager
from tpmconsole.session.ownership import LOCK_FILE
from tpmconsole.session.spec import SessionSpec
from tpmconsole.session.status import FILE as FACTS_FILE
from tpmconsole.session.status import State
from tpmconsole.system import processes
from tpmconsole.system.files import write_atomic
from tpmconsole.system.processes import NoProcError


@pytest.mark.parametrize(
    ("key", "engine", "version"),
    [
        ("ec-p256", "bridge", "1.3"),
        ("ec-p384", "bridge", "1.2"),
        ("rsa-2048", "bridge", "1.3"),
        ("rsa-2048", "bridge", "1.2"),
        ("handle", "auto", "1.3"),
        ("handle", "provider", "1.2"),
        ("ec-p256", "provider", "1.2"),
        ("ec-p256", "provider", "1.3"),
        ("rsa-2048", "provider", "1.3"),
    ],
)
def test_both_ends_with_keys_in_the_tpm(world: World, key: str, engine: str, version: str) -> None:
    server = world.server(key, engine=engine, max_tls=version)
    assert server.state == State.RUNNING
    client = world.client(port_of(server), key, engine=engine, count=3)
    after = world.ended(client.id)
    assert after.state == State.STOPPED
    assert after.last_error is None
    assert after.messages == 3
    assert after.bytes_out == after.bytes_in == 3 * len("PING 1\n")
    server = world.supervisor.show(server.id)
    world.wait_for(server.id, lambda event: event["event"] == "closed")
    for session in (server.id, client.id):
        assert "handshake" in world.kinds(session)
        facts = world.supervisor.show(session)
        assert facts.engine == ("bridge" if engine == "auto" else engine)
        assert facts.protocol_version == f"TLSv{version}"
        assert facts.cipher
        assert facts.peer is not None
        assert (facts.peer.subject, facts.peer.issuer) == (f"CN={key}", "CN=root")
        assert len(facts.peer.fingerprint) == 64
        assert facts.handshakes == 1
        assert facts.handshake_ms.median
        assert facts.handshake_ms.p95 == facts.handshake_ms.median
        assert len(facts.handshake_ms.recent) == 1
        assert facts.group
    assert world.kinds(client.id) == [
        "started",
        "connecting",
        "handshake",
        *["message"] * 3,
        "closed",
        "stopped",
    ]


def test_a_key_with_a_password(world: World) -> None:
    with SoftwareServer(world.software().context(server=True)) as server:
        for engine in ("bridge", "provider"):
            client = world.client(server.port, "password", password=b"open sesame", engine=engine)
            assert world.ended(client.id).state == State.STOPPED
    written = [path for path in world.folder.rglob("*") if path.is_file()]
    assert not [path for path in written if b"open sesame" in path.read_bytes()]


def test_a_wrong_and_a_missing_password_are_told_apart_from_other_trouble(world: World) -> None:
    for password in (b"wrong", None):
        with pytest.raises(ConsoleError, match=r"[Pp]assword") as caught:
            world.client(9, "password", password=password)
        assert caught.value.exit_code == ExitCode.REFUSED
    assert world.supervisor.list() == []


def test_sessions_are_private_numbered_and_found_by_another_console(world: World) -> None:
    first, second = world.server(), world.server("rsa-2048")
    assert [first.id, second.id] == ["server-1", "server-2"]
    other = SessionManager(world.folder / "sessions", world.folder / "other.log")
    assert [facts.id for facts in other.list()] == ["server-1", "server-2"]
    found = other.show("server-1", usage=True)
    assert (found.pid, found.start_time) == (first.pid, first.start_time)
    assert found.rss_bytes
    assert found.cpu_percent is not None
    folder = world.folder / "sessions" / "server-1"
    assert folder.stat().st_mode & 0o777 == 0o700
    told, said = list(folder.glob("*.*")), list((folder / STATE).iterdir())
    assert {path.stat().st_mode & 0o777 for path in (*told, *said)} == {0o600}
    assert {path.name for path in told} == {ORDER_FILE, KEY_FILE}
    assert {FACTS_FILE, FILE, LOCK_FILE} <= {path.name for path in said}
    stopped = other.stop("server-1")
    assert stopped.state == State.STOPPED
    assert world.supervisor.stop("server-1").state == State.STOPPED
    assert world.kinds("server-1")[-1] == "stopped"
    assert world.supervisor.any_running()


def test_a_session_has_no_terminal_and_little_environment(world: World) -> None:
    os.environ["SECRET_OF_OURS"] = "1"
    try:
        server = world.server(engine="provider")
    finally:
        del os.environ["SECRET_OF_OURS"]
    process = Path(f"/proc/{server.pid}")
    environment = process.joinpath("environ").read_bytes()
    assert b"SECRET_OF_OURS" not in environment
    assert b"OPENSSL_CONF=" in environment
    assert "OPENSSL_CONF" not in os.environ
    assert os.getsid(server.pid or 0) == server.pid
    assert os.readlink(process / "fd" / "0") == "/dev/null"  # noqa: PTH115 - a link to look at
    assert os.readlink(process / "cwd") == "/"  # noqa: PTH115


def test_without_proc_a_running_session_is_not_called_failed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = world.server()
    with monkeypatch.context() as patch:
        patch.setattr(processes, "PROC", tmp_path)
        with pytest.raises(NoProcError):
            world.supervisor.list()
    assert world.supervisor.show(server.id).state is State.RUNNING


def test_a_killed_session_is_noticed_and_leaves_no_zombie(world: World) -> None:
    server = world.server()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: world.supervisor.show(server.id).state == State.FAILED, seconds=2)
    facts = world.supervisor.show(server.id)
    assert facts.last_error is not None
    assert "gave no reason" in facts.last_error.cause
    assert facts.rss_bytes is None
    wait_until(lambda: not Path(f"/proc/{server.pid}").exists(), "the zombie", seconds=2)
    assert not world.supervisor.any_running()
    assert world.supervisor.stop(server.id).state == State.FAILED
    # Who follows its events is not left waiting.
    assert [event["event"] for event in world.supervisor.events(server.id, follow=True)]


def test_a_session_that_hangs_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    server = world.server()
    assert server.pid is not None
    monkeypatch.setattr("tpmconsole.session.manager.STOP_S", 0.2)
    # What ends it politely only wakes it here, and then it is stopped again.
    os.kill(server.pid, signal.SIGSTOP)
    monkeypatch.setattr("tpmconsole.system.processes.signal.SIGTERM", signal.SIGSTOP)
    monkeypatch.setattr("tpmconsole.system.processes.signal.SIGCONT", signal.SIGSTOP)
    stopped = world.supervisor.stop(server.id)
    assert stopped.state == State.STOPPED
    assert stopped.connections == 0
    assert world.kinds(server.id)[-1] == "stopped"


def test_https_fetches_count_times(world: World) -> None:
    server = world.server()
    client = world.client(port_of(server), protocol="https", count=2)
    after = world.ended(client.id)
    assert after.state == State.STOPPED
    assert (after.handshakes, after.messages) == (1, 2)  # one connection for both
    answers = [event["answer"] for event in world.supervisor.events(client.id) if "answer" in event]
    assert answers == ["HTTP 200", "HTTP 200"]


def test_a_client_without_count_waits_for_its_server_and_comes_back(world: World) -> None:
    identity = world.software()

    def answer_once(tls: object) -> None:
        from support.world import read_line

        tls.sendall(read_line(tls).replace("PING", "PONG").encode() + b"\n")  # type: ignore[attr-defined,arg-type]

    with SoftwareServer(identity.context(server=True), answer_once) as server:
        client = world.client(server.port, count=None, interval_s=0.01)
        lost = world.wait_for(client.id, lambda event: event["event"] == "error")
        assert 1.0 <= lost["retry_in_s"] <= 1.4
        assert not lost.get("final")
        world.wait_for(client.id, lambda event: event.get("text") == "PING 2")
        facts = world.supervisor.show(client.id)
        assert facts.state == State.RUNNING
        assert facts.last_error is not None
        assert facts.last_error.remedy
    assert world.supervisor.stop(client.id).state == State.STOPPED
    assert world.supervisor.show(client.id).reconnects >= 1


def test_a_client_without_count_starts_before_its_server(world: World) -> None:
    with SoftwareServer(world.software().context(server=True)) as server:
        port = server.port
    client = world.client(port, count=None)
    assert client.state == State.STARTING
    assert client.last_error is not None
    assert client.last_error.title == "Connection refused"


def test_only_the_newest_of_the_ended_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ENDED_KEPT >= 20
    monkeypatch.setattr("tpmconsole.session.manager.ENDED_KEPT", 1)
    with SoftwareServer(world.software().context(server=True)) as server:
        ids = []
        for _ in range(3):
            ids.append(world.client(server.port).id)
            world.ended(ids[-1])
    assert [facts.id for facts in world.supervisor.list()] == ids[1:]


def test_a_new_session_is_whole_when_others_see_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be a damaged one, and the oldest: the first to go when another is started."""
    sessions = world.folder / "sessions"
    of_another = sessions / "server-1" / "x"
    seen: list[str] = []
    real = write_atomic

    def write(path: Path, data: bytes, **options: bool) -> None:
        if not of_another.exists():
            seen.extend(facts.id for facts in world.supervisor.list())
        real(path, data, **options)
        if path.name == ORDER_FILE:
            of_another.parent.mkdir(exist_ok=True)  # another start was quicker
            of_another.touch()

    monkeypatch.setattr(directory, "write_atomic", write)
    server = world.server()
    assert seen == []
    assert (server.id, server.state) == ("server-2", State.RUNNING)
    assert {path.name for path in sessions.iterdir()} == {"server-1", "server-2"}


def test_unknown_sessions(world: World) -> None:
    for name in ("client-9", "../x", "", "server-1/../../x"):
        for ask in (world.supervisor.show, world.supervisor.stop, world.supervisor.events):
            with pytest.raises(ConsoleError, match="Unknown session"):
                ask(name)


def test_a_damaged_session_file_harms_only_its_session(world: World) -> None:
    server = world.server()
    good = world.folder / "sessions" / server.id / ORDER_FILE
    for name, text in itertools.product(
        (ORDER_FILE, f"{STATE}/{FACTS_FILE}"), ("", "{", "[]", '{"state": 3}', '{"spec": {}}')
    ):
        folder = world.folder / "sessions" / "client-7"
        (folder / STATE).mkdir(exist_ok=True, parents=True)
        shutil.copy(good, folder)
        (folder / name).write_text(text)
        listed = {facts.id: facts for facts in world.supervisor.list()}
        assert listed["client-7"].state == State.FAILED
        assert listed[server.id].state == State.RUNNING
        assert world.supervisor.stop("client-7").state == State.FAILED


def test_the_console_answers_while_clients_talk(world: World) -> None:
    server = world.server()
    identity = world.software()
    with connected(identity, port_of(server)) as one, connected(identity, port_of(server)) as two:
        assert say(one, "PING 1") == "PONG 1"
        assert say(two, "STATUS").startswith("OK clients=2 handshakes=2 messages=1")


def test_a_spec_that_cannot_be_right_is_refused_before_anything_is_made(world: World) -> None:
    wrong: list[dict[str, object]] = [
        {"role": "both"},
        {"port": 0},
        {"port": 65536},
        {"host": ""},
        {"host": "a b"},
        {"host": "x" * 300},
        {"protocol": "ftp"},
        {"engine": "magic"},
        {"count": 0},
        {"interval_s": -1.0},
        {"interval_s": float("nan")},
        {"path": "no slash"},
        {"path": "/a\r\nHost: x"},
        {"min_tls": "1.3", "max_tls": "1.2"},
        {"min_tls": "1.0"},
    ]
    for changes in wrong:
        values = {"role": "client", "identity": "x", "host": "h", "port": 1} | changes
        with pytest.raises(ConsoleError) as caught:
            SessionSpec(**values).check()  # type: ignore[arg-type]
        assert caught.value.exit_code == ExitCode.USAGE
    assert world.supervisor.list() == []
