"""What goes wrong with sessions, told with its cause: keys, certificates, peers, the network."""

from __future__ import annotations

import errno
import shutil
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives.serialization import (
    load_pem_public_key,
)
from support.pki import Ca, SoftwareIdentity
from support.waiting import wait_until
from support.world import DEADLINE_S, LOCAL, SoftwareServer, TpmKeys, World, connected, port_of, say

from tpmconsole.cli.next_steps import say as in_commands
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.directory import LOG_FILE, STATE
from tpmconsole.session.manager import SessionManager
from tpmconsole.session.spec import Credentials
from tpmconsole.session.status import State
from tpmconsole.session.tls.engine import choose
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef
from tpmconsole.tpm.simulator import Simulator


def refused(world: World, start: object, *words: str) -> ConsoleError:
    """Start something that must fail with these words; nothing may be left of it."""
    with pytest.raises(ConsoleError) as caught:
        start()  # type: ignore[operator]
    told = f"{caught.value.title}: {caught.value.cause}"
    assert all(word in told for word in words), told
    assert caught.value.remedy
    assert "Traceback" not in told
    assert world.supervisor.list() == []
    assert not list((world.folder / "sessions").iterdir())
    return caught.value


def test_a_port_in_use(world: World) -> None:
    with socket.create_server((LOCAL, 0)) as taken:
        port = taken.getsockname()[1]
        refused(world, lambda: world.server(port=port), "Port in use", str(port))


def test_an_address_that_is_not_ours(world: World) -> None:
    refused(world, lambda: world.server(host="192.0.2.77"), "No such address")
    refused(world, lambda: world.server(host="no-such-host.invalid"), "Host not found")


@pytest.mark.parametrize("count", [1, None])
def test_a_host_that_does_not_resolve(world: World, count: int | None) -> None:
    error = refused(
        world,
        lambda: world.client(8443, host="no-such-host.invalid", count=count),
        "Host not found",
        "no-such-host.invalid:8443",
    )
    assert error.exit_code == ExitCode.NO


def test_a_port_where_nothing_listens(world: World) -> None:
    with socket.create_server((LOCAL, 0)) as listener:
        port = listener.getsockname()[1]
    refused(world, lambda: world.client(port), "Connection refused", str(port))


@pytest.mark.parametrize("count", [1, None])
def test_an_untrusted_server(world: World, count: int | None) -> None:
    stranger = Ca.make("stranger")
    with SoftwareServer(world.software().context(server=True)) as server:
        error = refused(
            world,
            lambda: world.client(
                server.port, credentials=world.credentials(trust=stranger), count=count
            ),
            "Peer not trusted",
            "not among our trust anchors",
        )
        assert "trust NAME --add" in in_commands(error.remedy)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_that_does_not_know_our_ca(world: World, version: str) -> None:
    stranger = SoftwareIdentity.make(world.folder / "stranger", Ca.make("stranger"), "stranger")
    stranger.certificate.write_bytes(world.software().certificate.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.software().certificate, world.software().key)
    context.load_verify_locations(stranger.trust)
    context.verify_mode = ssl.CERT_REQUIRED
    with SoftwareServer(context) as server:
        error = refused(
            world,
            lambda: world.client(server.port, max_tls=version),
            "Peer refused us",
            "its trust anchors lack CN=root, which issued it",
        )
        assert "CA" in in_commands(error.remedy)


def test_clients_that_are_turned_away_harm_nobody(world: World) -> None:
    server = world.server()
    port, good = port_of(server), world.software()
    stranger = SoftwareIdentity.make(world.folder / "stranger", Ca.make("stranger"), "stranger")
    stranger.trust.write_bytes(world.ca.pem)
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(good.trust)
    with connected(good, port) as held:
        assert say(held, "PING 1") == "PONG 1"
        # With TLS 1.3 the refusal comes with the first thing that is read.
        with (
            pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"),
            connected(good, port, bare) as tls,
        ):
            say(tls, "PING 1")
        with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"), connected(stranger, port) as tls:
            say(tls, "PING 1")
        with socket.create_connection((LOCAL, port)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            plain.settimeout(DEADLINE_S)
            while plain.recv(4096):
                pass
        with socket.create_connection((LOCAL, port)) as plain:
            plain.sendall(bytes(range(256)) * 40)
        assert say(held, "PING 2") == "PONG 2"

    def causes() -> list[str]:
        return [one["cause"] for one in world.supervisor.events(server.id) if "remedy" in one]

    wait_until(lambda: len(causes()) == 4)
    told = "\n".join(causes())
    assert "sent no certificate" in told
    assert "not among our trust anchors" in told
    assert "HTTP without TLS" in told
    wait_until(lambda: world.supervisor.show(server.id).connections == 0)


def test_health_probes_are_counted_and_are_no_errors(world: World) -> None:
    server = world.server()
    port = port_of(server)
    for reset in (False, True, False):  # nagios closes, haproxy and Kubernetes may break off
        with socket.create_connection((LOCAL, port)) as probe:
            if reset:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: world.supervisor.show(server.id).probes == 3)
    with socket.create_connection((LOCAL, port)) as half:
        half.sendall(b"\x16")
    wait_until(lambda: world.supervisor.show(server.id).last_error is not None)
    facts = world.supervisor.show(server.id)
    assert (facts.probes, facts.handshakes) == (3, 0)
    errors = [one for one in world.supervisor.events(server.id) if one["event"] == "error"]
    assert len(errors) == 1
    log = world.folder / "sessions" / server.id / STATE / LOG_FILE
    assert log.read_text().count("WARNING") == 1


def test_lines_are_limited_and_unknown_ones_answered(world: World) -> None:
    server = world.server()
    with connected(world.software(), port_of(server)) as tls:
        assert say(tls, "HELLO") == "ERROR unknown command"
        assert say(tls, "ping 1") == "ERROR unknown command"
        assert say(tls, "PING") == "PONG"
        assert say(tls, "") == "ERROR unknown command"
        assert say(tls, "\x00\x7f") == "ERROR unknown command"
        assert say(tls, "TIME")[:2] == "20"
        tls.sendall(b"A" * 100_000)
        assert say(tls, "") == "ERROR line too long"
        assert tls.recv(100) == b""
    closed = world.wait_for(server.id, lambda event: event["event"] == "closed")
    assert closed["why"] == "it sent too long a line"


def test_a_certificate_for_another_key(world: World) -> None:
    wrong = world.credentials("ec-p384")
    key = world.keys.sources["ec-p256"]
    for engine in ("bridge", "provider"):
        credentials = Credentials("mixed", key, wrong.certificate, wrong.trust)
        refused(
            world,
            lambda credentials=credentials, engine=engine: world.server(
                credentials=credentials, engine=engine
            ),
            "do not belong together",
        )


def test_files_that_are_not_what_they_should_be(world: World) -> None:
    broken = world.credentials()
    broken.certificate.write_bytes(b"no certificate")
    refused(world, lambda: world.server(credentials=broken), "Certificate not loaded")


def test_no_tpm_behind_the_connection(world: World) -> None:
    lost = World(
        world.folder,
        TpmKeys(Connection("device:/dev/no-tpm", "test"), world.keys.sources, world.keys.public),
        world.ca,
        world.supervisor,
    )
    assert refused(lost, lost.server).exit_code == ExitCode.NO_TPM


@pytest.fixture
def own(state: Path, simulator: Simulator, tmp_path: Path) -> Iterator[World]:
    """A world with a TPM of its own, to be broken."""
    tpm = Tpm(simulator.ensure, state / "tpm.log")
    pem = tpm.create(Algorithm.EC_P256)
    public = load_pem_public_key(tpm.public_pem(KeyRef(pem=pem)))
    tpm.close()
    keys = TpmKeys(
        simulator.ensure(),
        {"ec-p256": KeyRef(pem=pem)},
        {"ec-p256": public},  # type: ignore[dict-item]
    )
    supervisor = SessionManager(state / "sessions", state / "console.log")
    yield World(state, keys, Ca.make("root"), supervisor)
    for facts in supervisor.list():
        supervisor.stop(facts.id)


def test_a_key_of_another_tpm(world: World, own: World) -> None:
    stolen = World(
        world.folder,
        TpmKeys(own.keys.connection, world.keys.sources, world.keys.public),
        world.ca,
        world.supervisor,
    )
    error = refused(stolen, stolen.server)
    assert error.exit_code == ExitCode.REFUSED
    assert "TPM" in error.cause


def test_open_connections_go_on_while_the_tpm_hangs(own: World, simulator: Simulator) -> None:
    server = own.server()
    identity = own.software()
    swtpm = psutil.Process(simulator.status().pids["swtpm"])
    answers: list[str] = []

    def come_later() -> None:
        with connected(identity, port_of(server)) as tls:
            answers.append(say(tls, "PING 2"))

    with connected(identity, port_of(server)) as held:
        assert say(held, "PING 1") == "PONG 1"
        swtpm.suspend()
        try:
            late = threading.Thread(target=come_later)
            late.start()
            wait_until(lambda: say(held, "STATUS").startswith("OK clients=2"))
            assert say(held, "PING 3") == "PONG 3"
            assert not answers
        finally:
            swtpm.resume()
        late.join(DEADLINE_S)
        assert answers == ["PONG 2"]


def test_a_session_ends_while_the_tpm_hangs(own: World, simulator: Simulator) -> None:
    server = own.server()
    identity = own.software()
    swtpm = psutil.Process(simulator.status().pids["swtpm"])
    swtpm.suspend()
    try:
        with socket.create_connection((LOCAL, port_of(server))) as plain:
            tls = identity.context(server=False)
            late = tls.wrap_socket(plain, server_hostname=LOCAL, do_handshake_on_connect=False)
            late.setblocking(False)
            with pytest.raises(ssl.SSLWantReadError):
                late.do_handshake()
            wait_until(lambda: own.supervisor.show(server.id).connections == 1)
            stopped = own.supervisor.stop(server.id)
    finally:
        swtpm.send_signal(signal.SIGCONT)
    assert stopped.state == State.STOPPED
    assert own.kinds(server.id)[-1] == "stopped"


def test_the_tpm_comes_back(own: World, simulator: Simulator) -> None:
    server = own.server(engine="bridge")
    identity = own.software()
    with connected(identity, port_of(server)) as held:
        assert say(held, "PING 1") == "PONG 1"
        psutil.Process(simulator.status().pids["tpm2-abrmd"]).kill()
        with (
            pytest.raises((ssl.SSLError, OSError, EOFError)),
            connected(identity, port_of(server)) as tls,
        ):
            say(tls, "PING 2")
        told = own.wait_for(server.id, lambda event: event["event"] == "error")
        assert told["code"] == ExitCode.NO_TPM
        again = simulator.ensure()
        assert again.environment == own.keys.connection.environment
        with connected(identity, port_of(server)) as tls:
            assert say(tls, "PING 3") == "PONG 3"
        assert say(held, "PING 4") == "PONG 4"


@pytest.mark.parametrize("engine", ["auto", "provider"])
def test_a_provider_that_loses_the_tpm_is_replaced_where_that_is_allowed(
    own: World, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(
        "tpmconsole.session.manager.choose",
        lambda _, key, connection, *__: choose("provider", key, connection),
    )
    server, identity = own.server(engine=engine), own.software()

    def causes() -> list[str]:
        return [one["title"] for one in own.supervisor.events(server.id) if "remedy" in one]

    def fail() -> None:
        before = len(causes())
        with (
            pytest.raises((ssl.SSLError, OSError, EOFError)),
            connected(identity, port_of(server)) as tls,
        ):
            say(tls, "PING 1")
        wait_until(lambda: len(causes()) > before)

    with connected(identity, port_of(server)) as held:
        assert say(held, "PING 1") == "PONG 1"
        psutil.Process(simulator.status().pids["tpm2-abrmd"]).kill()
        fail()
        assert causes() == ["No TPM reached"]
        simulator.ensure()
        fail()
        if engine == "auto":
            assert causes()[-1] == "Provider lost the key"
            with connected(identity, port_of(server)) as tls:
                assert say(tls, "PING 2") == "PONG 2"
            facts = own.supervisor.show(server.id)
            assert facts.engine == "bridge"
            assert "provider failed" in facts.why_engine
        else:
            assert causes()[-1] == "Provider lost the TPM"
        assert say(held, "PING 3") == "PONG 3"


def test_a_full_disk_does_not_end_a_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from tpmconsole.session import events

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = world.folder / "log"
    folder.mkdir()
    log = events.EventLog(folder)
    with monkeypatch.context() as patched:
        patched.setattr("tpmconsole.session.event_files.os.write", full)
        log.write("started")
    log.write("stopped")
    assert [event["event"] for event in events.read_events(folder)] == ["stopped"]
    shutil.rmtree(folder)
    log.write("stopped")
