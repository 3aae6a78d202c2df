"""A client that sends nothing: the handshake proves both sides, and the connection is kept."""

from __future__ import annotations

import ssl
import threading

import pytest
from support.pki import Ca
from support.waiting import wait_until
from support.world import SoftwareServer, World

from tpmconsole.errors import ConsoleError
from tpmconsole.session.status import State


def keep_silent(tls: ssl.SSLSocket) -> None:
    """As most servers do, until the client goes."""
    tls.settimeout(60)
    while tls.recv(4096):
        pass


def test_the_connection_is_kept_and_nothing_is_said(world: World) -> None:
    with SoftwareServer(world.software().context(server=True), keep_silent) as server:
        client = world.client(server.port, protocol="tls", count=None)
        wait_until(lambda: world.supervisor.show(client.id).handshakes, "a proved handshake")
        facts = world.supervisor.show(client.id)
        assert (facts.state, facts.connections, facts.messages) == (State.RUNNING, 1, 0)
        assert facts.peer is not None
        world.supervisor.stop(client.id)
        assert server.connections == 1


def test_a_count_is_of_handshakes(world: World) -> None:
    with SoftwareServer(world.software().context(server=True), keep_silent) as server:
        client = world.client(server.port, protocol="tls", count=2)
        wait_until(lambda: world.supervisor.show(client.id).state.ended, "it has ended")
        facts = world.supervisor.show(client.id)
        assert (facts.state, facts.handshakes, server.connections) == (State.STOPPED, 2, 2)


def test_a_server_that_closes_is_connected_again(world: World) -> None:
    again = threading.Event()

    def close(tls: ssl.SSLSocket) -> None:
        if again.is_set():
            keep_silent(tls)
        again.set()

    with SoftwareServer(world.software().context(server=True), close) as server:
        client = world.client(server.port, protocol="tls", count=None)
        wait_until(lambda: world.supervisor.show(client.id).handshakes == 2, "it came back")
        facts = world.supervisor.show(client.id)
        assert (facts.state, facts.last_error) == (State.RUNNING, None)
        closed = [one for one in world.supervisor.events(client.id) if one["event"] == "closed"]
        assert closed[0]["why"] == "by the server"
        world.supervisor.stop(client.id)


def test_a_refused_certificate_is_no_success(world: World) -> None:
    """With TLS 1.3 the refusal comes after our side of the handshake is done."""
    identity = world.software()
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.load_cert_chain(identity.certificate, identity.key)
    stranger.load_verify_locations(cadata=Ca.make("Somebody else's CA").pem.decode())
    stranger.verify_mode = ssl.CERT_REQUIRED
    with SoftwareServer(stranger, keep_silent) as server, pytest.raises(ConsoleError) as caught:
        world.client(server.port, protocol="tls", count=1)
    assert "network" not in f"{caught.value.cause} {caught.value.remedy}"


@pytest.mark.long
def test_after_a_good_handshake_nothing_is_said_of_the_network(world: World) -> None:
    with SoftwareServer(world.software().context(server=True), keep_silent) as server:
        client = world.client(server.port, protocol="line", count=1, retries=0)
        wait_until(lambda: world.supervisor.show(client.id).state.ended, "it gives up", seconds=40)
    error = world.supervisor.show(client.id).last_error
    assert error is not None
    assert error.title == "No answer inside TLS"
    assert "works, but no answer came" in error.cause
    assert "network" not in f"{error.cause} {error.remedy}"
