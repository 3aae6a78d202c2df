"""The server's and the client's limits, in this process and with a software key: quick to reach."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from session_pki import Ca, SoftwareIdentity
from session_world import LOCAL

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session import client as client_module
from tpmconsole.session.client import Client
from tpmconsole.session.engine import EngineChoice
from tpmconsole.session.events import read_events
from tpmconsole.session.folder import Order
from tpmconsole.session.live import Live
from tpmconsole.session.model import Credentials, SessionFacts, SessionSpec, State
from tpmconsole.session.peer import Session
from tpmconsole.session.running import Running
from tpmconsole.session.server import Server
from tpmconsole.session.signing import SigningThread
from tpmconsole.session.tls import make_context
from tpmconsole.tpm.model import Connection, KeySource

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class SoftwareEngine:
    """A key in a file, in the place of one in the TPM."""

    def __init__(self, identity: SoftwareIdentity) -> None:
        self._identity = identity

    def install(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._identity.certificate, self._identity.key)

    def take_failure(self) -> BaseException | None:
        return None


class Setting:
    """A session without a process, and the identities around it."""

    def __init__(self, folder: Path) -> None:
        ca = Ca.make("root")
        self.folder = folder
        self.ours = SoftwareIdentity.make(folder / "ours", ca, "ours")
        self.peer = SoftwareIdentity.make(folder / "peer", ca, "peer")

    def running(self, role: str, port: int = 0, **options: Any) -> Running:
        spec = SessionSpec(role, "ours", LOCAL, port, **options)
        order = Order(
            spec,
            Credentials("ours", KeySource(pem=b""), self.ours.certificate, self.ours.trust),
            Connection("device:/dev/none", "test"),
            EngineChoice("bridge", "test"),
            "boot",
        )
        facts = SessionFacts(f"{role}-1", role, "ours", spec.address)
        engine = SoftwareEngine(self.ours)
        context = make_context(
            server=role == "server",
            engine=engine,
            trust=self.ours.trust,
            min_tls=None,
            max_tls=None,
        )
        live = Live(self.folder, order, facts)
        return Running(spec, context, engine, "bridge", None, SigningThread(), live)

    def errors(self) -> list[dict[str, Any]]:
        return [event for event in read_events(self.folder) if event["event"] == "error"]

    def reasons_for_closing(self) -> list[str]:
        return [one["why"] for one in read_events(self.folder) if one["event"] == "closed"]

    async def connect(self, live: Live) -> Opened:
        return await asyncio.open_connection(
            LOCAL, int(live.facts.address.rpartition(":")[2]), ssl=self.peer.context(server=False)
        )


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        # What is waited for is a fact or a file; nobody tells of its changes.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(running: Running, **limits: Any) -> AsyncIterator[Live]:
    task = asyncio.create_task(Server(running, **limits).run())
    await until(lambda: running.live.facts.state == State.RUNNING)
    try:
        yield running.live
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


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
    monkeypatch.setattr("tpmconsole.session.server.HANDSHAKE_S", 0.02)
    async with serving(setting.running("server")) as live:
        port = int(live.facts.address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection(LOCAL, port)
        assert await reader.read() == b""
        writer.close()
        await until(setting.errors)
        assert "does not answer in time" in setting.errors()[0]["cause"]


async def test_an_http_request_has_limits(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpmconsole.session.server.HEADER_S", 0.05)
    async with serving(setting.running("server")) as live:
        reader, writer = await setting.connect(live)
        writer.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        for request in (b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000, b"GET / HTTP/1.1\r\nHalf: "):
            reader, writer = await setting.connect(live)
            writer.write(request)
            assert await reader.read() == b""


async def test_trouble_with_accepting_ends_nothing(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpmconsole.session.server.ACCEPT_AGAIN_S", 0.0)
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
    session = Session(setting.folder, running.live._order, running.live.facts, None)
    for busy in (0.0, 20.0, 25.0, 0.0, 20.0):
        monkeypatch.setattr(SigningThread, "busy_s", busy)
        session._watch_tpm()
    told = setting.errors()
    assert len(told) == 2
    assert told[0]["code"] == ExitCode.NO_TPM
