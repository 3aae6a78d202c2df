"""HTTP/1.1 as both ends of a session speak it: framing, limits and what is refused, in HTTP."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from support.setting import Setting, serving, until
from support.world import DEADLINE_S, SoftwareServer, read_line

from tpmconsole.errors import ConsoleError
from tpmconsole.session.process import client as client_module
from tpmconsole.session.process import http_client
from tpmconsole.session.process.client import Client
from tpmconsole.session.process.recorder import Recorder

# Our client


def read_request(tls: ssl.SSLSocket) -> list[str]:
    lines = []
    while line := read_line(tls).strip():
        lines.append(line)
    return lines


def answering(*answers: bytes, ends: bool = True) -> Callable[[ssl.SSLSocket], None]:
    """Answers each request with its bytes; then the connection ends, with a goodbye or without."""

    def behave(tls: ssl.SSLSocket) -> None:
        for answer in answers:
            read_request(tls)
            tls.sendall(answer)
        if ends:
            tls.unwrap()

    return behave


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
)
EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


@pytest.mark.parametrize(
    ("answers", "connections"),
    [
        ([LENGTH] * 3, 1),
        ([CHUNKED] * 3, 1),
        ([EARLY + LENGTH] * 3, 1),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"] * 3, 1),
        ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"] * 3, 1),
        ([b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"] * 3, 1),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"], 3),
        ([b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"], 3),
        ([b"HTTP/1.1 200 OK\r\n\r\nuntil the end"], 3),
        ([LENGTH], 3),  # it closes without having said so
    ],
)
async def test_answers_of_every_framing(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, answers: list[bytes], connections: int
) -> None:
    monkeypatch.setattr(client_module, "backoff_s", lambda _: 0.01)
    with SoftwareServer(setting.peer.context(server=True), answering(*answers)) as server:
        running = setting.running("client", server.port, protocol="https", count=3, interval_s=0.05)
        await Client(running).run()
        assert server.connections == connections
    assert running.live.facts.messages == 3
    assert running.live.facts.handshakes == connections
    assert not setting.errors()


async def test_the_request_says_whom_it_means(setting: Setting) -> None:
    asked: list[list[str]] = []

    def behave(tls: ssl.SSLSocket) -> None:
        asked.append(read_request(tls))
        tls.sendall(LENGTH)

    with SoftwareServer(setting.peer.context(server=True), behave) as server:
        options: dict[str, Any] = {"protocol": "https", "count": 1, "path": "/a?b"}
        await Client(setting.running("client", server.port, **options)).run()
        assert asked[0][:2] == ["GET /a?b HTTP/1.1", f"Host: 127.0.0.1:{server.port}"]


async def refusal(setting: Setting, behave: Callable[[ssl.SSLSocket], None]) -> ConsoleError:
    with SoftwareServer(setting.peer.context(server=True), behave) as server:
        running = setting.running("client", server.port, protocol="https", count=1)
        with pytest.raises(ConsoleError) as caught:
            await Client(running).run()
    assert caught.value.cause.isprintable()
    assert "h11" not in caught.value.cause
    return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_a_truncated_answer_is_an_error(setting: Setting, answer: bytes) -> None:
    assert (await refusal(setting, answering(answer))).title == "Answer cut off"


async def test_a_body_that_only_the_connection_ends_needs_a_goodbye(setting: Setting) -> None:
    """Anybody on the way can cut a connection, but not make a close_notify (RFC 9112, 9.8)."""
    behave = answering(b"HTTP/1.1 200 OK\r\n\r\nhalf of it", ends=False)
    assert (await refusal(setting, behave)).title == "Answer cut off"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "does not answer with HTTP"),
        (b"PO", "does not answer with HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, "a header of more than 64 KB"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "a header of more than 64 KB"),
        (b"HTTP/1.1 two OK\r\n\r\n", "breaks the rules"),
        (b"HTTP/1.1 200 OK\r\nX y\r\n\r\n", "breaks the rules"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "breaks the rules"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "breaks the rules",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "breaks the rules"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "breaks the rules",
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "breaks the rules"),
    ],
)
async def test_what_is_no_answer(setting: Setting, answer: bytes, words: str) -> None:
    told = await refusal(setting, answering(answer))
    assert told.title == "Unexpected answer"
    assert words in told.cause


async def test_of_a_long_answer_no_more_is_read_than_we_want(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "PAGE_BYTES", 1000)
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
    with SoftwareServer(setting.peer.context(server=True), answering(body)) as server:
        options: dict[str, Any] = {"protocol": "https", "count": 2, "interval_s": 0.0}
        await Client(setting.running("client", server.port, **options)).run()
        assert server.connections == 2  # where the rest is unread, no request follows


# Our server


async def said(setting: Setting, live: Recorder, *requests: bytes) -> bytes:
    """All that the server answers on one connection."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await setting.connect(live)
        for request in requests:
            writer.write(request)
            await writer.drain()
        told = await reader.read()
        writer.close()
    return told


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", *(fields or ("Host: x",)), "", ""]
    return "\r\n".join(lines).encode("latin-1")


CLOSE = ("Host: x", "Connection: close")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/", *CLOSE), 200),
        (get("/status?x=1", *CLOSE), 200),
        (get("https://gateway.local:8443/status", *CLOSE), 200),
        (get("HTTP://gateway.local", *CLOSE), 200),
        (get("https://gateway.local?x", *CLOSE), 200),
        (get("https://gateway.local/absent", *CLOSE), 404),
        (get("/absent", *CLOSE), 404),
        (get("/", "X: y", version="1.0"), 200),
        (get("/", "Host: [fd00::1]:8443", "Connection: close"), 200),
        (get("/", "Host:", "Connection: close"), 200),
        (get("/", *CLOSE, method="HEAD"), 200),
        (get("/", *CLOSE, method="DELETE"), 405),
        (get("*", *CLOSE, method="OPTIONS"), 405),
        (get("x:443", *CLOSE, method="CONNECT"), 405),
        (get("/", *CLOSE, method="BREW"), 501),
        (get("/", *CLOSE, method="get"), 501),
        # Refusals after which the connection ends by itself
        (get("/", "X: y"), 400),
        (get("/", "Host: a", "Host: a"), 400),
        (get("/", "Host: a b"), 400),
        (get("/", "Host: a/b"), 400),
        (get("/", "Host: [::1"), 400),
        (get("ftp://x/"), 400),
        (get("//" + "x", "Host : x"), 400),
        (get("/ x"), 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (get("/", "Host: x", "Content-Length: 5", "Content-Length: 6"), 400),
        (get("/", "Host: x", "Transfer-Encoding: gzip"), 501),
        (get("/", "Host: x", version="2.0"), 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (get("/", "Host: x", version="0.9"), 505),
        (b"GET / HTTP/3\r\nHost: x\r\n\r\n", 400),
        (get("/", "Host: x", "X: " + "y" * 40_000), 431),
        (get("/", "Host: x", *["X: y"] * 9000), 431),
        (get("/" + "x" * 3000), 414),
        (get("/", "Host: x", "Content-Length: 5", method="POST") + b"hello", 405),
        (get("/", "Host: x", "Expect: 100-continue", "Content-Length: 5", method="PUT"), 405),
    ],
)
async def test_requests_are_answered_in_http(
    setting: Setting, request_: bytes, status: int
) -> None:
    async with serving(setting.running("server")) as live:
        told = await said(setting, live, request_)
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), told
    assert re.search(rb"(?i)^connection: close\r?$", head, re.MULTILINE) or b"1.0" in request_
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length
    assert len(body) == (0 if request_.startswith(b"HEAD") else int(length[1]))
    assert (status == 405) == (b"Allow: GET, HEAD" in head)


async def test_one_connection_carries_several_requests(setting: Setting) -> None:
    async with serving(setting.running("server")) as live:
        told = await said(setting, live, get(), get("/absent"), get("/status", *CLOSE))
        assert re.findall(rb"HTTP/1\.1 (\d+)", told) == [b"200", b"404", b"200"]
        # All at once, too (pipelining, RFC 9112, 9.3.2).
        told = await said(setting, live, get() + get(method="HEAD") + get("/status", *CLOSE))
        assert re.findall(rb"HTTP/1\.1 (\d+)", told) == [b"200", b"200", b"200"]
        assert live.facts.messages == 6


async def test_half_a_request_is_answered_and_a_silent_client_is_not(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpmconsole.session.process.server.HEADER_S", 0.05)
    async with serving(setting.running("server")) as live:
        told = await said(setting, live, b"GET / HTTP/1.1\r\nHalf: ")
        assert told.startswith(b"HTTP/1.1 408 Request Timeout")
        assert (await said(setting, live, get())).count(b"HTTP/1.1") == 1
        await until(lambda: len(setting.reasons_for_closing()) == 2)
    assert setting.reasons_for_closing() == ["it said nothing for too long"] * 2


async def test_a_line_is_still_a_line(setting: Setting) -> None:
    async with serving(setting.running("server")) as live:
        told = await said(setting, live, b"PING 1\nGET / HTTP/1.1\n", b"A" * 3000)
    assert told == b"PONG 1\nERROR unknown command\nERROR line too long\n"
