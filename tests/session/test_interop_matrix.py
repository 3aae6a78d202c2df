"""Every kind of key, both engines and both protocol versions with other programs.

``make interop``: it takes a minute, and fetches nginx, Apache and mosquitto.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from session.test_interop import CURL, run, s_client, s_server, talk
from support.engine_alone import environment_for
from support.interop_programs import apache, mosquitto, nginx
from support.pki import Ca
from support.running import PROJECT
from support.world import DEADLINE_S, LOCAL, World, port_of

from tpmconsole.errors import ConsoleError
from tpmconsole.session.status import State

pytestmark = pytest.mark.interop

CHILD = Path(__file__).with_name("interop_child.py")
KEYS = [
    ("ec-p256", "bridge"),
    ("ec-p256", "provider"),
    ("ec-p384", "bridge"),
    ("ec-p384", "provider"),
    ("rsa-2048", "bridge"),
    ("rsa-2048", "provider"),
    ("handle", "bridge"),
    ("handle", "provider"),
]
VERSIONS = ["1.2", "1.3"]
# MQTT 3.1.1, 3.1: CONNECT with a clean session and the client identifier "board"; then CONNACK,
# whose last byte says that the broker accepts (3.2.2.3).
CONNECT = "10" + "11" + "00044d515454" + "04" + "02" + "003c" + "0005" + b"board".hex()
ACCEPTED = "20020000"

both_versions = pytest.mark.parametrize("version", VERSIONS)
every_key = pytest.mark.parametrize(("key", "engine"), KEYS)


def answers(world: World, session: str) -> list[str]:
    return [event["answer"] for event in world.supervisor.events(session) if "answer" in event]


# Our client


@both_versions
@every_key
def test_openssl_s_server(world: World, key: str, engine: str, version: str) -> None:
    with s_server(world.software()) as port:
        client = world.client(port, key, engine=engine, protocol="https", max_tls=version)
        after = world.ended(client.id)
    assert after.state == State.STOPPED
    assert after.protocol_version == f"TLSv{version}"
    assert answers(world, client.id) == ["HTTP 200"]


@both_versions
@every_key
def test_nginx(world: World, key: str, engine: str, version: str) -> None:
    with nginx(world.folder / "nginx", world.software()) as server:
        client = world.client(server.port, key, engine=engine, protocol="https", max_tls=version)
        assert world.ended(client.id).state == State.STOPPED
        assert answers(world, client.id) == ["HTTP 200"]
        server.said(f'TLSv{version} SUCCESS "CN={key}" 200')


def test_nginx_refuses_a_certificate_of_another_ca_and_it_is_seen(world: World) -> None:
    """It refuses in HTTP, after the TLS handshake (ngx_http_ssl_module, error 495)."""
    other = Ca.make("another root")
    ours = world.credentials()
    ours.certificate.write_bytes(other.issue(world.keys.public["ec-p256"], "stranger"))
    with nginx(world.folder / "nginx", world.software()) as server:
        client = world.client(server.port, credentials=ours, protocol="https")
        assert world.ended(client.id).state == State.FAILED
        assert answers(world, client.id) == ["HTTP 400"]
        server.said("FAILED")


@every_key
def test_apache_asks_for_a_certificate_for_one_location(
    world: World, key: str, engine: str
) -> None:
    with apache(world.folder / "apache", world.software()) as server:
        client = world.client(server.port, key, engine=engine, protocol="https", path="/private/")
        assert world.ended(client.id).state == State.STOPPED
        server.said(f'TLSv1.3 SUCCESS "CN={key}" 200')


def test_apache_renegotiates_for_one_location_and_is_refused(world: World) -> None:
    with apache(world.folder / "apache", world.software()) as server:
        page = world.client(server.port, protocol="https", max_tls="1.2")
        assert world.ended(page.id).state == State.STOPPED
        with pytest.raises(ConsoleError, match="Renegotiation refused"):
            world.client(server.port, protocol="https", path="/private/", max_tls="1.2")


@both_versions
@every_key
def test_mosquitto(world: World, key: str, engine: str, version: str) -> None:
    """TLS by one of our sessions, and a whole MQTT connection by its engine."""
    credentials, connection = world.credentials(key), world.keys.connection
    with mosquitto(world.folder / "mosquitto", world.software()) as broker:
        # A broker ends a connection without MQTT, which it reads only after it has accepted us.
        with pytest.raises(ConsoleError, match="closed the connection"):
            world.client(broker.port, credentials=credentials, engine=engine, max_tls=version)
        broker.said("disconnected due to protocol error")

        source, key_file = credentials.key, world.folder / "key.pem"
        key_file.write_bytes(source.pem or b"")
        environment = environment_for(engine, source, connection, world.folder)
        where = key_file if source.handle is None else f"0x{source.handle:08x}"
        done = subprocess.run(
            [
                *(sys.executable, str(CHILD), engine, str(where)),
                *(str(credentials.certificate), str(credentials.trust), connection.tcti),
                *(str(broker.port), version, CONNECT),
            ],
            env=environment | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.stdout.split() == [f"TLSv{version}", ACCEPTED], done.stderr
        broker.said(f"as board (p2, c1, k60, u'{key}')")


def test_mosquitto_refuses_a_certificate_of_another_ca_in_words(world: World) -> None:
    other = Ca.make("another root")
    ours = world.credentials()
    ours.certificate.write_bytes(other.issue(world.keys.public["ec-p256"], "stranger"))
    with (
        mosquitto(world.folder / "mosquitto", world.software()) as broker,
        pytest.raises(ConsoleError, match="its trust anchors lack CN=another root"),
    ):
        world.client(broker.port, credentials=ours)


# Our server


def _spoke(version: str, event: dict[str, Any]) -> bool:
    return bool(event.get("protocol_version") == f"TLSv{version}")


@every_key
def test_openssl_s_client_and_curl(world: World, key: str, engine: str) -> None:
    server, peer = world.server(key, engine=engine), world.software()
    own = ("-cert", str(peer.certificate), "-key", str(peer.key))
    for version in VERSIONS:
        name = version.replace(".", "_")
        command = s_client(peer, port_of(server), f"-tls{name}", *own)
        lines, _ = talk(command, "PING 7\n", 1)
        assert lines == ["PONG 7\n"]
        world.wait_for(server.id, partial(_spoke, version))
        page = run(
            [
                *(CURL, "-sS", "-i", "--cacert", str(peer.trust)),
                *("--tlsv" + version, "--tls-max", version),
                *("--cert", str(peer.certificate), "--key", str(peer.key)),
                f"https://{LOCAL}:{port_of(server)}",
            ]
        )
        assert page.stdout.startswith("HTTP/1.1 200 OK"), page.stderr
        assert f"{key}, whose key is in a TPM, greets CN=peer" in page.stdout
        assert f"TLSv{version}" in page.stdout


@pytest.mark.parametrize(("key", "engine"), [("ec-p256", "bridge"), ("rsa-2048", "provider")])
def test_nginx_passes_a_browser_on_to_our_server(world: World, key: str, engine: str) -> None:
    server, peer = world.server(key, engine=engine), world.software()
    with nginx(world.folder / "nginx", peer, f"{LOCAL}:{port_of(server)}") as front:
        page = run([CURL, "-sS", "-i", f"http://{LOCAL}:{front.port}/"])
    assert page.stdout.startswith("HTTP/1.1 200 OK"), page.stdout
    assert "greets CN=peer" in page.stdout
