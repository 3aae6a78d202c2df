"""Link-local addresses with an interface, and name servers that do not answer yet."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.running import PROJECT, needs_root
from support.setting import Setting
from support.world import SoftwareServer

from tpmconsole.errors import ConsoleError
from tpmconsole.session.process.client import Client
from tpmconsole.session.tls.errors import explain
from tpmconsole.session.tls.peer import Peer
from tpmconsole.system.zones import check_zone

CHILD = Path(__file__).with_name("zones_child.py")
ADDRESS = "fe80::77"
NETWORK = f"""
ip link set lo up && ip addr add {ADDRESS}/64 dev lo nodad && exec "$@"
"""


@needs_root
@pytest.mark.skipif(not shutil.which("ip"), reason="needs iproute2")
def test_a_link_local_address_is_listened_on_and_reached(tmp_path: Path) -> None:
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "tests")])
    done = subprocess.run(
        [
            *("unshare", "--net", "sh", "-c", NETWORK, "sh", sys.executable, str(CHILD)),
            *(str(tmp_path), f"{ADDRESS}%lo", ADDRESS),
        ],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["listening"] == f"{ADDRESS}%lo"
    assert told["client"].startswith(f"[{ADDRESS}%lo]:")


def test_an_interface_that_is_not_there_is_named() -> None:
    with pytest.raises(OSError, match="No such device") as caught:
        check_zone("fe80::1%nosuch0")
    told = explain(caught.value, Peer("server", "[fe80::1%nosuch0]:1"))
    assert told.title == "No such interface"
    check_zone("fe80::1%lo")
    check_zone("gateway.local")


async def test_name_servers_that_do_not_answer_are_waited_for(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpmconsole.session.process.client.backoff_s", lambda _: 0.01)
    loop = asyncio.get_running_loop()
    resolve, asked = loop.getaddrinfo, 0

    async def slow(*names: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await resolve(*names, **options)

    monkeypatch.setattr(loop, "getaddrinfo", slow)
    with SoftwareServer(setting.peer.context(server=True)) as server:
        running = setting.running("client", server.port, count=1, retries=5)
        await Client(running).run()
    assert [one["title"] for one in setting.errors()] == ["Host not found"] * 3


async def test_a_host_that_is_unknown_is_not_waited_for(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(ConsoleError, match="there is no host of that name"):
        await Client(setting.running("client", 1, retries=5)).run()
