"""One peer without a certificate cannot close a server: places, hellos, turns, peers that go.

The attacker is 127.0.0.2, the client that has a right to be served 127.0.0.1; only the slowness of
the key is not real.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import psutil
import pytest
from support.setting import Opened, Setting, serving, until
from support.slow_key import ListeningThread, SlowKey
from support.world import LOCAL

from tpmconsole.session.process.hello import Hello, asks_again
from tpmconsole.session.process.places import Places, source_of
from tpmconsole.session.process.recorder import Recorder
from tpmconsole.session.process.signing_thread import SigningThread

ATTACKER, THIRD = "127.0.0.2", "127.0.0.3"
HELLO_S = 0.05


def port_of(live: Recorder) -> int:
    return int(live.facts.address.rpartition(":")[2])


class Crowd:
    """Plain connections to a server, closed with the test."""

    def __init__(self, live: Recorder, stack: ExitStack) -> None:
        self._port, self._stack = port_of(live), stack

    def join(self, source: str = ATTACKER, said: bytes = b"") -> socket.socket:
        plain = socket.create_connection((LOCAL, self._port), source_address=(source, 0))
        self._stack.enter_context(plain)
        plain.sendall(said)
        return plain

    def has_gone(self, source: str = ATTACKER) -> bool:
        """Whether the server's kernel knows it; nothing of that needs the server to read."""
        return not any(
            one.status == psutil.CONN_ESTABLISHED
            for one in psutil.Process().net_connections("tcp4")
            if one.laddr.port == self._port and one.raddr and one.raddr.ip == source
        )


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def connect(setting: Setting, live: Recorder, source: str = LOCAL) -> Opened:
    """A client with a certificate."""
    return await asyncio.open_connection(
        *(LOCAL, port_of(live)),
        ssl=setting.peer.context(server=False),
        local_addr=(source, 0),
        server_hostname=LOCAL,
    )


async def is_served(opened: Opened) -> None:
    reader, writer = opened
    writer.write(b"PING 1\n")
    async with asyncio.timeout(10):
        assert await reader.readline() == b"PONG 1\n"


async def ends(plain: socket.socket) -> None:
    """Wait until the server has closed a connection."""

    def wait() -> None:
        plain.settimeout(10)
        try:
            while plain.recv(4096):
                pass
        except ConnectionResetError:
            pass

    await asyncio.to_thread(wait)


class Speaker:
    """A client's TLS over memory, for its bytes."""

    def __init__(self, setting: Setting) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = setting.peer.context(server=False)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=LOCAL)

    def says(self, heard: bytes = b"") -> bytes:
        self._incoming.write(heard)
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()


# Places


async def test_an_address_gets_a_quarter_of_the_places(setting: Setting, stack: ExitStack) -> None:
    async with serving(setting.running("server"), clients=8) as live:
        crowd, good = Crowd(live, stack), await connect(setting, live)
        first = crowd.join()
        crowd.join()
        await until(lambda: live.facts.connections == 3)
        await ends(crowd.join())
        assert f"client {ATTACKER}:" in setting.errors()[-1]["cause"]
        assert "2 from its address are already connected" in setting.errors()[-1]["cause"]
        other = await connect(setting, live)
        await is_served(other)
        await is_served(good)
        # A place that is left is given again.
        first.close()
        await until(lambda: live.facts.connections == 3)
        crowd.join()
        await until(lambda: live.facts.connections == 4)
        await is_served(other)


@pytest.mark.attacks("256 silent connections of one address", "another address is served at once")
async def test_256_silent_connections_keep_nobody_out(setting: Setting, stack: ExitStack) -> None:
    async with serving(setting.running("server")) as live:
        crowd = Crowd(live, stack)
        for _ in range(256):
            # In a thread: the server must accept before all of them fit into its queue.
            await asyncio.to_thread(crowd.join)
        await until(lambda: setting.errors() and live.facts.connections == 64)
        good = await connect(setting, live)
        await is_served(good)
        assert live.facts.connections == 65
        await is_served(good)


def test_all_places_are_never_more_than_there_are() -> None:
    places = Places(4)
    assert [places.take(str(number)) for number in range(4)] == [None] * 4
    assert places.take("4") == "4 clients are already connected"
    places.leave("2")
    assert places.take("1") == "1 from its address are already connected"
    assert places.take("4") is None
    assert Places(1).take("only") is None


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("2001:db8:1:2:aaaa::1", 5, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:bbbb:cccc::2", 6, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:3::1", 5, 0, 0), "2001:db8:1:3::/64"),
        (("::ffff:192.0.2.7", 5, 0, 0), "192.0.2.7"),
        # All neighbours on a link are in one network, and two links may have the same.
        (("fe80::1", 5, 0, 2), "fe80::1%2"),
        (("fe80::2", 5, 0, 2), "fe80::2%2"),
        (("fe80::1", 5, 0, 3), "fe80::1%3"),
    ],
)
def test_whose_a_connection_is(name: tuple[object, ...], source: str) -> None:
    assert source_of(name) == source


# Hellos


@pytest.mark.attacks("half a ClientHello", "closed after 5 s, and costs no step of a handshake")
async def test_half_a_hello_is_given_up_and_costs_no_step(
    setting: Setting, stack: ExitStack
) -> None:
    running = setting.running("server")
    running.thread = thread = ListeningThread()
    async with serving(running, hello_timeout_s=HELLO_S) as live:
        good, crowd = await connect(setting, live), Crowd(live, stack)
        await is_served(good)
        asked, hello = len(thread.asked), Speaker(setting).says()
        waiting = [crowd.join(said=said) for said in (b"", hello[:3], hello[:-1])]
        await asyncio.gather(*map(ends, waiting))
        assert len(thread.asked) == asked
        await until(lambda: len(setting.errors()) == 3)
        assert all("does not answer in time" in one["cause"] for one in setting.errors())
        await is_served(good)


async def test_a_record_that_never_ends_is_given_up(setting: Setting, stack: ExitStack) -> None:
    """What is no ClientHello is OpenSSL's to refuse, which waits for the rest of it."""
    async with serving(setting.running("server"), hello_timeout_s=HELLO_S) as live:
        await ends(Crowd(live, stack).join(said=bytes.fromhex("8040010303")))
        await until(setting.errors)
        assert "does not answer in time" in setting.errors()[0]["cause"]


async def test_a_whole_hello_waits_for_its_turn_as_long_as_it_takes(
    setting: Setting, stack: ExitStack
) -> None:
    async with slow_server(setting, hello_timeout_s=HELLO_S) as slow:
        patient = asyncio.create_task(connect(setting, slow.live))
        await slow.is_asked(LOCAL)
        # Its time was over before that of one who came after it.
        await ends(Crowd(slow.live, stack).join())
        slow.key.let(2)
        await is_served(await patient)


def test_a_hello_is_whole_with_its_last_byte(setting: Setting) -> None:
    said = Speaker(setting).says()
    hello = Hello()
    assert [hello.feed(bytes([one])) for one in said] == [False] * (len(said) - 1) + [True]
    # Cut into several records, after the one that hides TLS 1.3 from old boxes in between.
    body, hello = said[5:], Hello()
    parts = [body[:2], body[2:100], body[100:]]
    records = [b"\x16\x03\x01" + struct.pack(">H", len(one)) + one for one in parts]
    assert [hello.feed(one) for one in (bytes.fromhex("140303000101"), *records)] == [
        *(False, False, False, True)
    ]


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n",
        bytes.fromhex("8040010303"),  # SSL 2.0
        bytes.fromhex("1603010000"),  # a record with nothing in it
        bytes.fromhex("160301ffff"),  # one that is too long
        bytes.fromhex("15030300020100"),  # an alert
        bytes.fromhex("160301000414000000"),  # another message
        bytes.fromhex("160301000401ffffff"),  # one without an end
        bytes.fromhex("140303000101") * 2,
    ],
)
def test_what_becomes_no_hello_is_openssls(said: bytes) -> None:
    assert Hello().feed(said)


# Turns, and peers that go


@dataclass
class Slow:
    """A server whose key is signing for the attacker, and will not be done before it may."""

    live: Recorder
    key: SlowKey
    thread: ListeningThread
    first: asyncio.Task[Opened]

    async def is_asked(self, source: str, count: int = 1) -> None:
        """Wait until so many steps of an address were handed over."""
        await until(lambda: self.thread.asked.count(source) >= count)


@asynccontextmanager
async def slow_server(
    setting: Setting, *, group: str | None = None, **limits: float
) -> AsyncIterator[Slow]:
    key, thread = SlowKey(setting.ours), ListeningThread()
    running = setting.running("server", engine=key.engine)
    running.thread = thread
    async with serving(running, **limits) as live:
        first = asyncio.create_task(connect(setting, live, ATTACKER))
        await until(lambda: key.begun)
        if group is not None:
            running.ready.context.set_ecdh_curve(group)
        yield Slow(live, key, thread, first)
        first.cancel()
        key.let(100)


def shut(plain: socket.socket) -> None:
    plain.shutdown(socket.SHUT_WR)


def close(plain: socket.socket) -> None:
    plain.close()


def reset(plain: socket.socket) -> None:
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


@pytest.mark.parametrize("go", [shut, close, reset])
@pytest.mark.parametrize("more", [b"", b"and more"])
@pytest.mark.attacks("hellos of peers that go at once", "nothing is signed for them")
async def test_nothing_is_signed_for_peers_that_have_gone(
    setting: Setting, stack: ExitStack, go: Callable[[socket.socket], None], more: bytes
) -> None:
    async with slow_server(setting) as slow:
        crowd, count = Crowd(slow.live, stack), 10
        gone = [crowd.join(THIRD, Speaker(setting).says() + more) for _ in range(count)]
        await slow.is_asked(THIRD, count)
        for one in gone:
            go(one)
        await until(lambda: crowd.has_gone(THIRD))
        good = asyncio.create_task(connect(setting, slow.live))
        await slow.is_asked(LOCAL)
        slow.key.let(2)
        await is_served(await good)
        await is_served(await slow.first)
        assert slow.key.begun == 2
        await until(lambda: len(setting.errors()) == count)
        words = "broke the connection off" if go is reset else "closed the connection without"
        assert all(words in one["cause"] for one in setting.errors())
        assert slow.live.facts.connections == 2


async def test_nor_where_they_go_after_a_second_hello(setting: Setting, stack: ExitStack) -> None:
    async with slow_server(setting, group="secp384r1") as slow:
        slow.key.let()
        await is_served(await slow.first)
        speaker, crowd = Speaker(setting), Crowd(slow.live, stack)
        plain = crowd.join(THIRD, speaker.says())
        again = await asyncio.to_thread(plain.recv, 4096)
        assert asks_again(again)
        # The key signs for another one when the second hello comes.
        other = asyncio.create_task(connect(setting, slow.live))
        await until(lambda: slow.key.begun == 2)
        plain.sendall(speaker.says(again))
        await slow.is_asked(THIRD, 2)
        plain.close()
        await until(lambda: crowd.has_gone(THIRD))
        slow.key.let()
        await is_served(await other)
        await until(setting.errors)
        assert slow.key.begun == 2


@pytest.mark.attacks("many hellos of one address", "another one waits for one signature at most")
async def test_an_address_delays_another_by_one_signature(setting: Setting) -> None:
    async with slow_server(setting) as slow:
        others = [asyncio.create_task(connect(setting, slow.live, ATTACKER)) for _ in range(5)]
        await slow.is_asked(ATTACKER, 6)
        good = asyncio.create_task(connect(setting, slow.live))
        await slow.is_asked(LOCAL)
        slow.key.let(2)  # the one that was being made, and its own
        opened = await good
        await slow.is_asked(LOCAL, 2)
        await until(lambda: slow.key.begun == 3)
        slow.key.let()  # what came before its second step, which signs nothing
        await is_served(opened)
        assert slow.key.begun == 4
        assert sum(one.done() for one in others) <= 1
        slow.key.let(len(others))
        for one in others:
            await is_served(await one)


async def test_owners_take_turns_in_the_thread() -> None:
    thread, held, done = SigningThread(), threading.Event(), list[str]()
    blocked = asyncio.create_task(thread.run(lambda: held.wait(10), "a"))
    await until(lambda: thread.busy_s > 0)
    names = ("a1", "a2", "a3", "b1", "b2", "c1")

    def job(name: str) -> Callable[[], None]:
        return lambda: done.append(name)

    jobs = [asyncio.create_task(thread.run(job(name), name[0])) for name in names]
    await asyncio.sleep(0)  # all of them wait by now
    jobs[names.index("a1")].cancel()
    await until(jobs[names.index("a1")].done)
    held.set()
    await asyncio.gather(blocked, *jobs, return_exceptions=True)
    assert done == ["b1", "c1", "b2", "a2", "a3"]
