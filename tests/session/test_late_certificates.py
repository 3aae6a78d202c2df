"""Servers that ask for a certificate only where a path needs one, and answers that are no success.

Apache does so for ``SSLVerifyClient`` in a location: by post-handshake authentication (TLS 1.3), or
by a renegotiation (TLS 1.2).
"""

from __future__ import annotations

import asyncio
import re
import select
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from session.test_interop import OPENSSL
from support.setting import Setting, serving, until
from support.world import DEADLINE_S, LOCAL, SoftwareServer, World, read_line

from tpmconsole.errors import ConsoleError
from tpmconsole.session.process.client import Client
from tpmconsole.session.process.records import Records
from tpmconsole.session.status import State

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def read_request(tls: ssl.SSLSocket) -> str:
    request = read_line(tls)
    while read_line(tls).strip():
        pass
    return request


def knows(tls: ssl.SSLSocket) -> bool:
    try:
        return bool(tls.getpeercert())
    except ValueError:  # it waits for the answer
        return False


def answer_to_the_known(tls: ssl.SSLSocket) -> None:
    """Ask for the certificate when the request is there, and answer when it has come."""
    assert not tls.getpeercert()
    assert read_request(tls).startswith("GET /private")
    tls.verify_client_post_handshake()
    tls.do_handshake()  # which only asks
    tls.setblocking(False)
    while not knows(tls):
        assert select.select([tls], [], [], DEADLINE_S)[0]
        with suppress(ssl.SSLWantReadError):
            tls.recv(1)
    tls.setblocking(True)
    tls.sendall(OK)


@pytest.mark.parametrize(("key", "engine"), [("ec-p256", "bridge"), ("rsa-2048", "provider")])
def test_a_certificate_is_shown_after_the_handshake(world: World, key: str, engine: str) -> None:
    context = world.software().context(server=True)
    context.post_handshake_auth = True
    with SoftwareServer(context, answer_to_the_known) as server:
        client = world.client(server.port, key, engine=engine, protocol="https", path="/private")
        after = world.ended(client.id)
        assert not server.troubles
    assert (after.state, after.last_error) == (State.STOPPED, None)


def test_no_other_session_is_asked_later(setting: Setting) -> None:
    """Its reading shall never wait for the TPM."""
    for running in (setting.running("client", 1), setting.running("server")):
        assert not running.ready.context.post_handshake_auth


@contextmanager
def asking_anew(world: World) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """OpenSSL's server, which renegotiates when it is told to."""
    peer = world.software()
    command = [
        *(OPENSSL, "s_server", "-accept", f"{LOCAL}:0", "-tls1_2", "-CAfile", str(peer.trust)),
        *("-cert", str(peer.certificate), "-key", str(peer.key)),
    ]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if match := re.fullmatch(r"ACCEPT .*:(\d+)\n", line):
                    yield int(match[1]), server
                    break
        finally:
            server.terminate()


async def test_a_renegotiation_is_refused_by_its_name(world: World, setting: Setting) -> None:
    setting.ours.trust.write_bytes(world.ca.pem)
    with asking_anew(world) as (port, server):
        client = asyncio.create_task(
            Client(setting.running("client", port, protocol="https", count=1)).run()
        )
        assert server.stdin is not None
        assert server.stdout is not None
        while not (await asyncio.to_thread(server.stdout.readline)).startswith("GET / "):
            pass
        server.stdin.write("R\n")
        server.stdin.flush()
        with pytest.raises(ConsoleError) as caught:
            await client
    assert caught.value.title == "Renegotiation refused"
    assert "TLS 1.3" in str(caught.value.remedy)


async def test_a_client_that_renegotiates_is_refused_by_its_name(setting: Setting) -> None:
    own = ("-cert", str(setting.peer.certificate), "-key", str(setting.peer.key))
    async with serving(setting.running("server")) as live:
        client = await asyncio.create_subprocess_exec(
            *(OPENSSL, "s_client", "-tls1_2", "-connect", live.facts.address, *own),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await until(lambda: live.facts.handshakes)
        assert client.stdin is not None
        client.stdin.write(b"R\n")
        await until(setting.errors)
        client.stdin.close()
        await client.wait()
    (error,) = setting.errors()
    assert error["title"] == "Renegotiation refused"
    assert error["cause"].startswith("client 127.0.0.1:")


def test_records_are_told_apart_however_they_arrive() -> None:
    def record(kind: int, size: int) -> bytes:
        return bytes([kind, 3, 3]) + size.to_bytes(2, "big") + bytes(size)

    shaken = record(22, 70) + record(22, 0) + record(20, 1) + record(22, 40) + record(23, 300)
    for step in (1, 3, 7, len(shaken)):
        records = Records()
        for at in range(0, len(shaken), step):
            records.feed(shaken[at : at + step])
        assert not records.ask_anew
        records.feed(record(21, 2) + record(22, 24)[:3])
        assert not records.ask_anew
        records.feed(record(22, 24)[3:])
        assert records.ask_anew


def answering(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("status", "title", "remedy"),
    [
        ("400 Bad Request", "Request refused", "does not accept our certificate"),
        ("403 Forbidden", "Request refused", "whether our certificate"),
        ("404 Not Found", "Request refused", "check the path"),
        ("418 I'm a teapot", "Request refused", "log"),
        ("500 Internal Server Error", "Server error", "log"),
        ("503 Service Unavailable", "Server error", "log"),
    ],
)
async def test_an_answer_that_is_no_success(
    setting: Setting, status: str, title: str, remedy: str
) -> None:
    def refuse(tls: ssl.SSLSocket) -> None:
        read_request(tls)
        tls.sendall(answering(status))

    with SoftwareServer(setting.peer.context(server=True), refuse) as server:
        running = setting.running("client", server.port, protocol="https", count=2)
        with pytest.raises(ConsoleError) as caught:
            await Client(running).run()
        assert server.connections == 1
    assert caught.value.title == title
    assert status[:3] in caught.value.cause
    assert remedy in str(caught.value.remedy)


async def test_a_server_in_trouble_is_tried_again(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpmconsole.session.process.client.backoff_s", lambda _: 0.01)
    answers = [answering("503 Busy"), answering("502 Bad Gateway"), OK]

    def answer(tls: ssl.SSLSocket) -> None:
        read_request(tls)
        tls.sendall(answers.pop(0))

    with SoftwareServer(setting.peer.context(server=True), answer) as server:
        running = setting.running("client", server.port, protocol="https", count=1, retries=5)
        await Client(running).run()
    assert not answers
    assert [one["title"] for one in setting.errors()] == ["Server error"] * 2
    assert running.live.facts.messages == 3
