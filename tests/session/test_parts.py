"""The parts of a session that need no TPM: events, protocol, causes, wire, thread, monitor."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path

import pytest

from tpmconsole.board import tpm_users as usage_module
from tpmconsole.board.lines import event_line, session_lines
from tpmconsole.board.tpm_users import Link, foreign_users
from tpmconsole.cli.sessions import session_facts_lines
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.inputs import address_text
from tpmconsole.session.process import line_protocol
from tpmconsole.session.process.signing_thread import SigningThread
from tpmconsole.session.process.tcp import Wire, connect, listen
from tpmconsole.session.status import HandshakeTimes, LastError, PeerInfo, SessionStatus, State
from tpmconsole.session.tls import alerts, errors, network, verification
from tpmconsole.session.tls.errors import explain
from tpmconsole.session.tls.peer import Peer
from tpmconsole.session.usage import usage
from tpmconsole.system.processes import family, start_time
from tpmconsole.system.sockdiag import servers_of_sockets

PEER = Peer("server", "broker:8443")


def test_a_session_that_waits_is_shown_as_it_is_listed() -> None:
    facts = SessionStatus("client-1", "client", "pump", "broker:8443", waiting_for="peer")
    (_, listed), (_, shown) = (
        session_lines([facts]),
        next(line.split() for line in session_facts_lines(facts) if line.startswith("state ")),
    )
    assert (listed.split()[1], shown) == ("waiting", "waiting")
    assert facts.to_json()["state"] == "starting"


def test_what_helps_a_session_is_shown_as_a_command() -> None:
    """Seen: the last error of ``session show`` ended in ``next {'action': ...}``."""
    error = LastError("No TPM", "gone", NextStep(Action.START, text="start one: {}"), "")
    facts = SessionStatus("client-1", "client", "pump", "broker:8443", last_error=error)
    shown = next(line for line in session_facts_lines(facts) if line.startswith("last_error "))
    assert "remedy start one: tpmconsole session start" in shown
    assert "action" not in shown


# Protocol


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"PING 1", "PONG 1"),
        (b"PING", "PONG"),
        (b" PING 2 ", "PONG 2"),
        (b"STATUS", "OK"),
        (b"PING 99999999999999999999999", line_protocol.UNKNOWN),
        (b"PING one", line_protocol.UNKNOWN),
        (b"PING 1; PING 2", line_protocol.UNKNOWN),
        (b"", line_protocol.UNKNOWN),
        (b"\xff\xfe", line_protocol.UNKNOWN),
        ("PING ٣".encode(), line_protocol.UNKNOWN),
    ],
)
def test_answers(line: bytes, answer: str) -> None:
    assert line_protocol.answer(line, "OK") == answer


def test_what_begins_http() -> None:
    for line in (b"GET /a?b HTTP/1.1", b"GET / HTTP/2", b"get / HTTP/1.0", b"GET  / HTTP/1.1 "):
        assert line_protocol.begins_http(line)
    for line in (b"PING 1", b"GET /", b"HTTP/1.1 200 OK", b"STATUS HTTP/"):
        assert not line_protocol.begins_http(line)
    for start in (b"GET /" + b"x" * 2000, b"POST https://x/", b"OPTIONS *"):
        assert line_protocol.may_be_http(start)
    assert not line_protocol.may_be_http(b"PING " + b"1" * 2000)


# Causes


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] text")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ssl_error("TLSV1_ALERT_UNKNOWN_CA"), "its trust anchors lack the CA"),
        (ssl_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "it wants a certificate"),
        (ssl_error("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "our certificate has expired"),
        (ssl_error("TLSV1_ALERT_PROTOCOL_VERSION"), "TLS versions"),
        (ssl_error("TLSV1_ALERT_SOMETHING_NEW"), "something new"),
        (ssl_error("WRONG_VERSION_NUMBER"), "does not speak TLS"),
        (ssl_error("SOME_REASON"), "some reason"),
        (ssl.SSLEOFError(8, "EOF"), "without a reason"),
        (ConnectionRefusedError(111, "refused"), "nothing listens"),
        (ConnectionResetError(104, "reset"), "broke the connection off"),
        (TimeoutError(), "does not answer"),
        (EOFError(), "closed the connection"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "no host of that name"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "name servers do not answer"),
        (PermissionError(13, "x"), "ports below 1024"),
        (OSError(9999, "odd thing"), "odd thing"),
        (ValueError("x"), "ValueError"),
    ],
)
def test_causes_in_words(error: BaseException, words: str) -> None:
    told = explain(error, PEER)
    assert words in told.cause
    assert "broker:8443" in told.cause
    assert told.remedy


def test_every_cause_has_words_and_a_remedy() -> None:
    tables = (verification.WORDS, verification.OURS, alerts.WORDS, errors.WORDS, network.WORDS)
    for table in tables:
        for words in table.values():
            assert all(str(text) and not str(text).endswith(".") for text in words)
    same = ConsoleError("a", "b", "c", ExitCode.REFUSED)
    assert explain(same, PEER) is same


# Data


def test_facts_survive_their_file() -> None:
    facts = SessionStatus(
        "client-1",
        "client",
        "gateway",
        "h:1",
        peer=PeerInfo("CN=a", "CN=b", "2030", "ff"),
        handshake_ms=HandshakeTimes.of([1.0, 3.0, 2.0]),
        last_error=LastError("a", "b", NextStep(Action.RENEW, "gateway", "renew it: {}"), "d"),
        state=State.RUNNING,
    )
    data = json.loads(json.dumps(facts.to_json()))
    told = SessionStatus("client-1", "client", "gateway", "h:1")
    assert told.as_said(data) == facts
    assert told.as_said(data | {"more": 1, "identity": "another", "unit": "x"}) == facts
    for broken in ({}, {"state": "odd"}, {"state": ["running"]}, {"state": 3}):
        with pytest.raises(ValueError, match=r"."):
            told.as_said(broken)
    assert address_text("::1", 1) == "[::1]:1"


def test_what_session_show_answers_is_a_contract() -> None:
    answer = SessionStatus("client-1", "client", "gateway", "h:1").to_json()
    contract = (
        *("id", "role", "identity", "engine", "state", "pid", "address", "protocol_version"),
        *("cipher", "peer", "handshakes", "handshake_ms", "messages", "bytes_in", "bytes_out"),
        *("cpu_percent", "rss_bytes", "last_error"),
    )
    assert set(contract) <= set(answer)
    assert {"last", "median"} <= set(answer["handshake_ms"])
    assert [one.name for one in fields(PeerInfo)] == [
        *("subject", "issuer", "not_after", "fingerprint")
    ]
    assert sorted(State) == ["failed", "running", "starting", "stopped"]


def test_the_figures_of_handshakes() -> None:
    times = HandshakeTimes.of([float(number) for number in range(1, 101)])
    assert (times.last, times.median, times.p95) == (100.0, 50.5, 95.0)
    assert times.recent == tuple(float(number) for number in range(77, 101))
    assert HandshakeTimes.of([7.123456]) == HandshakeTimes(7.12, 7.12, 7.12, (7.1,))


# Wire and thread


async def pair() -> tuple[Wire, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = await connect("localhost", listener.getsockname()[1], 10)
        return wire, listener.accept()[0]


async def test_what_came_before_a_break_is_not_lost() -> None:
    for _ in range(20):
        wire, there = await pair()
        await wire.send(b"unread")
        there.sendall(b"last words")
        # With bytes unread the kernel breaks the connection off, and sending fails before reading.
        there.close()
        await wire.send(b"too late")
        await wire.send(b"still too late")
        assert await wire.receive() == b"last words"
        with pytest.raises(ConnectionError):
            await wire.receive()
        await wire.close(1)


async def test_a_peer_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpmconsole.session.process.tcp.SEND_S", 0.05)
    wire, there = await pair()
    with pytest.raises(TimeoutError):
        await wire.send(bytes(64 * 1024 * 1024))
    await wire.close(0.05)
    there.close()


async def test_addresses_to_listen_on() -> None:
    both = await listen("127.0.0.1", 0, 1)
    assert len(both) == 1
    with pytest.raises(OSError, match="in use"):
        await listen("127.0.0.1", both[0].getsockname()[1], 1)
    both[0].close()
    with pytest.raises(socket.gaierror):
        await listen("no-such-host.invalid", 0, 1)


async def test_addresses_that_the_board_lacks_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, 0)) for name in ("192.0.2.77",)]

    async def resolve(*_: object, **__: object) -> list[object]:
        return [*found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(OSError, match="assign requested address"):
        await listen("board", 0, 1)
    found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)))
    (listener,) = await listen("board", 0, 1)
    assert listener.getsockname()[0] == "127.0.0.1"
    listener.close()


async def test_the_signing_thread_works_in_order_and_survives() -> None:
    thread, held = SigningThread(), threading.Event()

    def fail() -> None:
        raise ValueError("trouble")

    with pytest.raises(ValueError, match="trouble"):
        await thread.run(fail)
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def block() -> bool:
        loop.call_soon_threadsafe(began.set)
        return held.wait(10)

    blocked = asyncio.create_task(thread.run(block))
    given_up = asyncio.create_task(thread.run(lambda: 1))
    await began.wait()
    assert thread.busy_s > 0
    given_up.cancel()
    last = asyncio.create_task(thread.run(lambda: 2))
    # Who waits may give up a job that runs, too: it goes on, and the next one comes after it.
    blocked.cancel()
    held.set()
    assert await last == 2
    assert given_up.cancelled()
    assert blocked.cancelled()


# Monitor


def test_usage_of_a_process() -> None:
    mine = start_time(os.getpid())
    cpu, rss = usage(os.getpid(), mine)
    assert cpu is not None
    assert rss is not None
    assert rss > 1_000_000
    sum(range(2_000_000))
    busy, _ = usage(os.getpid(), mine)
    assert busy is not None
    assert busy > 0
    assert usage(os.getpid(), mine + 1) == (None, None)
    assert start_time(2**22 + 1) == 0


def test_foreign_users_of_the_tpm() -> None:
    # Mapping the library is what makes a user of the TPM; no chip is needed for it.
    script = "import ctypes, sys; ctypes.CDLL('libtss2-esys.so.0'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        found = {user.pid: user for user in foreign_users()}
        assert "TSS" in found[other.pid].how
        assert found[other.pid].to_json()["name"].startswith("python")
        assert other.pid not in {user.pid for user in foreign_users({other.pid})}
        assert os.getpid() not in found
        other.communicate(b"\n")


@pytest.mark.parametrize("device", ["/dev/tpm0", "/dev/tpmrm1", "/dev/tty0"])
def test_a_program_is_found_by_the_device_that_it_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    # A process that is there, with another one's descriptors: this machine may have no TPM.
    entry = tmp_path / str(os.getppid())
    (entry / "fd").mkdir(parents=True)
    (entry / "fd" / "3").symlink_to(device)
    (entry / "maps").write_text(
        "7f00-7f01 r-xp 0 00:00 0 /usr/lib/ossl-modules/tpm2.so\n/x/libssl.so.3"
    )
    monkeypatch.setattr(usage_module, "PROC", tmp_path)
    (user,) = foreign_users()
    module = "OpenSSL's module tpm2"
    assert user.how == (module if device == "/dev/tty0" else f"{device}, {module}")
    assert (user.pid, user.tls) == (os.getppid(), "libssl")
    # The chip's own users count where the simulator is in use, too; a library alone does not.
    assert bool(foreign_users((), tmp_path)) == (device != "/dev/tty0")


def test_a_program_is_found_by_its_connection_to_the_simulator(tmp_path: Path) -> None:
    script = """
import socket, sys
near, far = socket.socketpair()
with socket.socket(socket.AF_UNIX) as one, socket.create_server(("::1", 0), family=10) as two:
    one.connect(sys.argv[1])
    with socket.create_connection(two.getsockname()[:2]) as three, two.accept()[0]:
        print(two.getsockname()[1], flush=True)
        input()
"""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "bus"))
        server.listen()
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "bus")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            port = int(other.stdout.readline())
            accepted, _ = server.accept()
            (user,) = foreign_users((), tmp_path)
            assert user.pid == other.pid
            assert user.how == f"the simulator ({tmp_path}/bus)"
            assert user.connections[0] == Link(f"[::1]:{port}", "", "listen")
            assert {one.state for one in user.connections[1:]} == {"established"}
            assert user.tls == "" or "ssl" in user.tls
            assert user.age_s < 600
            assert foreign_users({other.pid}, tmp_path) == []
            assert foreign_users((), tmp_path / "elsewhere") == []
            other.communicate("\n")
            accepted.close()


def test_a_kernel_that_tells_nothing_of_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(93, "Protocol not supported")

    monkeypatch.setattr("tpmconsole.system.sockdiag.socket.socket", refuse)
    assert servers_of_sockets() == {}


def test_what_a_process_has_started_is_its_family_and_costs_too() -> None:
    script = "import subprocess, sys; subprocess.run(['cat'])"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(b"\n")
        other.stdin.flush()
        other.stdout.readline()
        first, second = family([other.pid])
        assert first == other.pid
        assert other.pid in family([os.getpid()])
        _, alone = usage(second, start_time(second))
        _, both = usage(first, start_time(first))
        assert alone is not None
        assert both is not None
        assert both > alone
        other.communicate()


def test_a_long_reason_is_told_whole() -> None:
    cause = "because " * 60 + "of that"
    event = {"event": "error", "title": "Failed", "cause": cause, "remedy": "do this"}
    assert event_line(event).endswith(f"Failed: {cause}; try: do this")
