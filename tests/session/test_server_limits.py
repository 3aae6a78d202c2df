"""The server's and the client's limits, in this process and with a software key: quick to reach."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import suppress
from typing import Any

import psutil
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from support.setting import Setting, serving, until
from support.world import DEADLINE_S, LOCAL, SoftwareServer, answer_lines

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.directory import SessionConfig
from tpmconsole.session.process import client as client_module
from tpmconsole.session.process.client import Client
from tpmconsole.session.process.lifecycle import Session
from tpmconsole.session.process.recorder import Recorder
from tpmconsole.session.process.signing_thread import SigningThread
from tpmconsole.session.spec import Credentials
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import Connection, KeyRef


async def test_one_client_too_many_is_turned_away(setting: Setting) -> None:
    async with serving(setting.running("server"), clients=1) as live:
        reader, writer = await setting.connect(live)
        with pytest.raises(ConnectionError):
            await setting.connect(live)
        assert setting.errors()[0]["title"] == "Client turned away"
        writer.write(b"PING 1\n")
        assert await reader.readline() == b"PONG 1\n"
        writer.close()
        await until(lambda: live.facts.connections == 0)
        _, writer = await setting.connect(live)
        writer.close()


async def test_a_silent_client_is_let_go(setting: Setting) -> None:
    async with serving(setting.running("server"), idle_s=0.02) as live:
        reader, _ = await setting.connect(live)
        assert await reader.read() == b""
        await until(setting.reasons_for_closing)
        assert setting.reasons_for_closing() == ["it said nothing for too long"]


async def test_a_handshake_that_does_not_come_is_given_up(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpmconsole.session.process.server.HANDSHAKE_S", 0.02)
    async with serving(setting.running("server")) as live:
        port = int(live.facts.address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection(LOCAL, port)
        assert await reader.read() == b""
        writer.close()
        await until(setting.errors)
        assert "does not answer in time" in setting.errors()[0]["cause"]


async def send_for_ever(writer: asyncio.StreamWriter) -> None:
    for _ in range(1024):
        writer.write(bytes(1 << 20))
        await writer.drain()


async def test_a_gigabyte_or_half_a_handshake_harms_nobody(setting: Setting) -> None:
    hello = ssl.MemoryBIO()
    half = setting.peer.context(server=False).wrap_bio(
        ssl.MemoryBIO(), hello, server_hostname=LOCAL
    )
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    async with serving(setting.running("server")) as live:
        good, good_writer = await setting.connect(live)
        port = int(live.facts.address.rpartition(":")[2])
        before = psutil.Process().memory_info().rss
        for start in ("tls", "plain", "half"):
            if start == "tls":
                _, writer = await setting.connect(live)
            else:
                _, writer = await asyncio.open_connection(LOCAL, port)
            if start == "half":
                writer.write(hello.read()[:100])
                await writer.drain()
                writer.transport.abort()
                continue
            with pytest.raises(OSError, match=r"."):
                await send_for_ever(writer)
            writer.transport.abort()
        # What it takes of a gigabyte is what fits into sockets and buffers.
        assert psutil.Process().memory_info().rss - before < 32 << 20
        await until(lambda: live.facts.connections == 1)
        good_writer.write(b"PING 1\n")
        assert await good.readline() == b"PONG 1\n"
        good_writer.close()


async def test_a_flood_keeps_nobody_from_being_served(setting: Setting) -> None:
    async with serving(setting.running("server")) as live:
        port = int(live.facts.address.rpartition(":")[2])
        flood = Flood(port)
        flood.start()
        try:
            await until(lambda: flood.sent)
            good, writer = await setting.connect(live)
            writer.write(b"PING 1\n")
            assert await good.readline() == b"PONG 1\n"
            writer.close()
            # Nobody is read for ever: it is broken off.
            await until(lambda: not flood.is_alive())
        finally:
            flood.over.set()
            await asyncio.to_thread(flood.join)
    assert flood.sent < 1 << 28


class Flood(threading.Thread):
    """Sends what is no TLS as fast as it is taken, from a thread of its own."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port, self.sent, self.over = port, 0, threading.Event()

    def run(self) -> None:
        with suppress(OSError), socket.create_connection((LOCAL, self.port)) as connection:
            while not self.over.is_set():
                self.sent += connection.send(bytes(1 << 18))


async def test_trouble_with_accepting_ends_nothing(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpmconsole.session.process.server.ACCEPT_AGAIN_S", 0.0)
    loop, failures = asyncio.get_running_loop(), [OSError(24, "Too many open files")]
    accept = loop.sock_accept

    async def failing(listener: socket.socket) -> tuple[socket.socket, Any]:
        if failures:
            raise failures.pop()
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", failing)
    async with serving(setting.running("server")) as live:
        _, writer = await setting.connect(live)
        writer.close()
        assert "Too many open files" in setting.errors()[0]["cause"]


async def test_a_client_with_a_count_gives_up_after_some_tries(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SHORTEST_WAIT_S", 0.001)
    async with serving(setting.running("server")) as live:
        port = int(live.facts.address.rpartition(":")[2])
        running = setting.running("client", port, count=1000, interval_s=0.001)
        task = asyncio.create_task(Client(running).run())
        await until(lambda: running.live.facts.messages > 2)
    with pytest.raises(ConsoleError, match="Connection refused"):
        await asyncio.wait_for(task, 10)
    assert running.live.facts.reconnects == client_module.TRIES
    assert running.live.facts.connections == 0
    waits = [event["retry_in_s"] for event in setting.errors() if "retry_in_s" in event]
    assert len(waits) == client_module.TRIES


async def test_long_intervals_take_a_connection_for_each_message(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "KEEP_S", 0.0)
    async with serving(setting.running("server")) as live:
        port = int(live.facts.address.rpartition(":")[2])
        running = setting.running("client", port, count=3, interval_s=0.001)
        await Client(running).run()
    assert (running.live.facts.handshakes, running.live.facts.messages) == (3, 3)


def test_a_tpm_that_hangs_is_told_once(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    running = setting.running("server")
    order = SessionConfig(
        running.spec,
        Credentials("ours", KeyRef(pem=b""), setting.ours.certificate, setting.ours.trust),
        Connection("device:/dev/none", "test"),
        EngineChoice("bridge", "test"),
        "boot",
    )
    session = Session(setting.folder, setting.folder, order, running.live.facts, Auth())
    for busy in (0.0, 20.0, 25.0, 0.0, 20.0):
        monkeypatch.setattr(SigningThread, "busy_s", busy)
        session._watch_tpm()
        assert (session.live.facts.waiting_for == "tpm") == (busy > 0)
    told = setting.errors()
    assert len(told) == 2
    assert told[0]["code"] == ExitCode.NO_TPM


async def refusal(setting: Setting, port: int, **options: Any) -> ConsoleError:
    """What ends a client that says one message."""
    running = setting.running("client", port, count=1, **options)
    with pytest.raises(ConsoleError) as caught:
        await Client(running).run()
    assert running.live.facts.messages == 0
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ({"hosts": ("elsewhere.example",)}, "is only for DNS elsewhere.example"),
        ({"days": (-10, -5)}, "has expired"),
        ({"days": (5, 10)}, "not valid yet"),
        ({"role": "client"}, "not issued for this use"),
    ],
)
async def test_a_server_whose_certificate_does_not_fit(
    setting: Setting, certificate: dict[str, Any], words: str
) -> None:
    key = load_pem_private_key(setting.peer.key.read_bytes(), None)
    pem = setting.ca.issue(key.public_key(), "peer", **certificate)  # type: ignore[arg-type]
    setting.peer.certificate.write_bytes(pem)
    with SoftwareServer(setting.peer.context(server=True)) as server:
        assert words in (await refusal(setting, server.port)).cause


async def test_versions_that_do_not_meet(setting: Setting) -> None:
    context = setting.peer.context(server=True)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with SoftwareServer(context) as server:
        error = await refusal(setting, server.port, min_tls="1.3")
        assert "TLS versions" in error.cause


async def test_a_server_that_speaks_no_tls(setting: Setting) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP ready\r\n")

    async with await asyncio.start_server(greet, LOCAL, 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "does not speak TLS" in (await refusal(setting, port)).cause


@pytest.mark.parametrize("protocol", ["line", "https"])
async def test_a_server_that_answers_something_else(setting: Setting, protocol: str) -> None:
    def babble(tls: ssl.SSLSocket) -> None:
        tls.recv(4096)
        tls.sendall(b"hello\n")
        tls.recv(4096)

    with SoftwareServer(setting.peer.context(server=True), babble) as server:
        error = await refusal(setting, server.port, protocol=protocol)
        assert error.title == "Unexpected answer"


async def test_a_header_without_end_is_given_up(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_S", 0.1)
    gone = threading.Event()

    def drip(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(200):
            tls.sendall(b"X: y\r\n")
            gone.wait(0.005)

    with SoftwareServer(setting.peer.context(server=True), drip) as server:
        error = await refusal(setting, server.port, protocol="https")
        gone.set()
    assert error.title == "No answer inside TLS"


async def test_a_silent_server_has_accepted_us(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PROOF_S", 0.02)
    go = threading.Event()

    def slow(tls: ssl.SSLSocket) -> None:
        go.wait(DEADLINE_S)
        answer_lines(tls)

    with SoftwareServer(setting.peer.context(server=True), slow) as server:
        running = setting.running("client", server.port, count=1)
        task = asyncio.create_task(Client(running).run())
        await until(lambda: running.live.facts.handshakes)
        assert running.live.facts.messages == 0
        go.set()
        await task
    assert running.live.facts.messages == 1


def resumes(setting: Setting, live: Recorder) -> bool:
    """Whether a client that connects for the second time need not prove its key."""
    address = (LOCAL, int(live.facts.address.rpartition(":")[2]))
    context, session = setting.peer.context(server=False), None
    for _ in range(2):
        with (
            socket.create_connection(address) as plain,
            context.wrap_socket(plain, server_hostname=LOCAL, session=session) as tls,
        ):
            tls.sendall(b"PING 1\n")
            said, session, reused = tls.recv(100), tls.session, tls.session_reused
            with suppress(OSError):  # a connection that breaks off ends its session too
                tls.unwrap()
    assert said == (b"" if live.facts.last_error else b"PONG 1\n")
    return bool(reused)


async def test_every_connection_proves_its_keys_anew(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(setting.running("server", max_tls="1.2")) as live:
        assert not await asyncio.to_thread(resumes, setting, live)
    monkeypatch.setattr("tpmconsole.session.tls.openssl.points_to_data", lambda _: False)
    async with serving(setting.running("server", max_tls="1.2")) as live:
        assert await asyncio.to_thread(resumes, setting, live)
        assert live.facts.last_error is not None
        assert "earlier session" in live.facts.last_error.cause
        assert live.facts.handshakes == 1
