"""A host with several addresses, the first of which are silent: a client reaches the last."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial

import pytest

from tpmconsole.board.doctor import network
from tpmconsole.board.doctor.network import together
from tpmconsole.finding import Finding
from tpmconsole.session.process import tcp

SILENT, ALIVE = "127.0.0.2", "127.0.0.1"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The address the host listens on; the name ``host`` has three addresses."""
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: object, **options: object) -> list[object]:
        names = (SILENT, SILENT, ALIVE) if host == "host" else (host,)
        return [one for name in names for one in real(name, port, *args, **options)]  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with socket.create_server((ALIVE, 0)) as alive:
        address = (SILENT, alive.getsockname()[1])
        # A listener with a full backlog silently drops what comes.
        with socket.create_server(address, backlog=0), socket.create_connection(address):
            yield address[1]


async def test_a_session_reaches_the_last_address(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "SHORTEST_CONNECT_S", 0.05)
    connected = await tcp.connect("host", port, 0.1)
    assert connected._socket.getpeername()[0] == ALIVE
    connected.drop()
    with pytest.raises(TimeoutError):
        await tcp.connect(SILENT, port, 0.1)


def test_the_doctor_reaches_the_last_address(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "PATIENCE_S", 0.4)
    server = network.Server("host", port)
    (finding,) = together([partial(network._connection, server)], network.PATIENCE_S + 0.2)
    assert isinstance(finding, Finding)
    assert f"connected to {ALIVE}" in finding.text
