"""Sessions and programs that no one here wrote: OpenSSL's own client and server, and curl."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from support.pki import Ca, SoftwareIdentity
from support.world import DEADLINE_S, LOCAL, World, port_of

from tpmconsole.session.status import State

OPENSSL = shutil.which("openssl") or ""
CURL = shutil.which("curl") or ""


def run(arguments: Sequence[str], said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, input=said, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def s_client(identity: SoftwareIdentity, port: int, *more: str) -> list[str]:
    return [
        *(OPENSSL, "s_client", "-connect", f"{LOCAL}:{port}", "-verify_return_error"),
        *("-CAfile", str(identity.trust), "-verify_ip", LOCAL, "-quiet", "-no_ign_eof", *more),
    ]


def talk(command: Sequence[str], said: str, answers: int) -> tuple[list[str], str]:
    """What a program prints: so many lines, and its complaints. Its input stays open until then."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stderr is not None
        client.stdin.write(said)
        client.stdin.flush()
        lines = [client.stdout.readline() for _ in range(answers)]
        client.stdin.close()
        return lines, client.stderr.read()


@pytest.mark.parametrize("version", ["1_2", "1_3"])
@pytest.mark.parametrize("key", ["ec-p256", "rsa-2048"])
def test_openssl_s_client(world: World, key: str, version: str) -> None:
    server, peer = world.server(key), world.software()
    own = ("-cert", str(peer.certificate), "-key", str(peer.key))
    command = s_client(peer, port_of(server), f"-tls{version}", *own)
    lines, _ = talk(command, "PING 7\nSTATUS\n", 2)
    assert lines[0] == "PONG 7\n"
    assert lines[1].startswith("OK clients=1")
    facts = world.supervisor.show(server.id)
    assert facts.protocol_version == f"TLSv{version.replace('_', '.')}"


def test_openssl_s_client_without_a_certificate_is_turned_away(world: World) -> None:
    server, peer = world.server(), world.software()
    lines, complaints = talk(s_client(peer, port_of(server)), "PING 1\n", 1)
    assert lines == [""]
    assert "certificate required" in complaints
    error = world.wait_for(server.id, lambda event: event["event"] == "error")
    assert "sent no certificate" in error["cause"]


@pytest.mark.parametrize("version", ["1_2", "1_3"])
@pytest.mark.parametrize("engine", ["bridge", "provider"])
def test_clients_are_told_which_cas_are_accepted(world: World, engine: str, version: str) -> None:
    """What a client with two certificates chooses by (curl, Java)."""
    credentials = world.credentials()
    credentials.trust.write_bytes(world.ca.pem + Ca.make("second root").pem + world.ca.pem)
    server, peer = world.server(engine=engine, credentials=credentials), world.software()
    address = f"{LOCAL}:{port_of(server)}"
    own = ("-cert", str(peer.certificate), "-key", str(peer.key))
    told = run([OPENSSL, "s_client", "-connect", address, f"-tls{version}", *own]).stdout
    names = told.partition("Acceptable client certificate CA names\n")[2].splitlines()
    assert names[:2] == ["CN = root", "CN = second root"]
    assert not names[2].startswith("CN")


@contextmanager
def s_server(identity: SoftwareIdentity, *more: str) -> Iterator[int]:
    """OpenSSL's server on a free port; it demands a certificate."""
    command = [
        *(OPENSSL, "s_server", "-accept", f"{LOCAL}:0", "-Verify", "3", "-verify_return_error"),
        *("-cert", str(identity.certificate), "-key", str(identity.key)),
        *("-CAfile", str(identity.trust), "-www", *more),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                match = re.fullmatch(r"ACCEPT .*:(\d+)\n", line)
                if match:
                    yield int(match[1])
                    break
        finally:
            server.terminate()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(("key", "engine"), [("ec-p256", "bridge"), ("rsa-2048", "provider")])
def test_openssl_s_server(world: World, key: str, engine: str, version: str) -> None:
    with s_server(world.software()) as port:
        client = world.client(port, key, engine=engine, protocol="https", max_tls=version)
        after = world.ended(client.id)
    assert after.state == State.STOPPED
    assert after.protocol_version == f"TLSv{version}"
    answers = [event["answer"] for event in world.supervisor.events(client.id) if "answer" in event]
    assert answers == ["HTTP 200"]


def test_curl(world: World) -> None:
    server, peer = world.server(), world.software()
    url = f"https://{LOCAL}:{port_of(server)}"
    common = [CURL, "-sS", "-i", "--cacert", str(peer.trust), "--max-time", f"{DEADLINE_S:.0f}"]
    own = ["--cert", str(peer.certificate), "--key", str(peer.key)]
    page = run([*common, *own, url])
    assert page.stdout.startswith("HTTP/1.1 200 OK")
    assert "greets CN=peer" in page.stdout
    assert run([*common, *own, f"{url}/absent"]).stdout.startswith("HTTP/1.1 404")
    assert run([*common, *own, "-I", url]).stdout.count("\n") == page.stdout.count("\n") - 3
    assert run([*common, *own, "-X", "DELETE", url]).stdout.startswith("HTTP/1.1 405")
    stranger = run([*common, url])
    assert stranger.returncode != 0
    assert not stranger.stdout
