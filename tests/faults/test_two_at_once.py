"""Two consoles, a console and scripts, a session and a request: all succeed, or one says why."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from faults.scene import ITSELF_S, Scene
from faults.test_resources import TRANSIENT, handles
from support.waiting import wait_until

from tpmconsole.tpm.simulator import Simulator

Seen = Callable[[str], None]
PERSISTENT = 0x81000000


def at_once(
    scene: Scene, *commands: Sequence[str], which: Sequence[str] = ()
) -> list[tuple[int, str]]:
    """Run commands at the same time; the exit code and all words of each."""
    which = which or ("--tcti", scene.tcti)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tpmconsole", "--state", str(scene.state), *which, *one],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=scene.shell.environment,
        )
        for one in commands
    ]
    told = [one.communicate(timeout=60)[0] for one in started]
    return [(one.returncode, words) for one, words in zip(started, told, strict=True)]


def create(name: str) -> tuple[str, ...]:
    return "create", name, "--algorithm", "ec-p256"


@pytest.mark.faults("two consoles", "both make their key")
def test_two_consoles(scene: Scene, seen: Seen) -> None:
    one, other = scene.healthy_console(), scene.healthy_console()
    one.create("one")
    other.create("other")
    wait_until(lambda: scene.left_on_disk() == ["one", "other"], seconds=ITSELF_S)
    assert handles(scene, TRANSIENT) == []
    seen("both; nothing left in the TPM")


@pytest.mark.faults("a console and scripts", "all succeed, on a TPM without resource manager")
def test_a_console_and_scripts(scene: Scene, seen: Seen) -> None:
    console = scene.healthy_console()
    console.send(b"t")
    done = at_once(scene, ("status",), ("keys",), create("one"), create("two"), ("selftest",))
    assert [code for code, _ in done] == [0] * 5, done
    took = console.answers()
    console.itself("PASSED")
    assert scene.left_on_disk() == ["one", "two"]
    seen(f"five commands and a self-test; key {took:.2f} s")


@pytest.mark.faults("one name twice", "one gets it, the other says that it is taken")
def test_one_name_twice(scene: Scene, seen: Seen) -> None:
    done = at_once(scene, create("pump"), create("pump"), create("pump"))
    assert sorted(code for code, _ in done) == [0, 1, 1]
    assert sum("Name is taken" in words for _, words in done) == 2
    assert scene.left_on_disk() == ["pump"]
    assert scene.command("keys", "--prove").returncode == 0
    seen("one of three; the others: Name is taken")


@pytest.mark.faults("one key to two handles", "one moves it, the other's copy is taken out")
def test_one_key_to_two_handles(scene: Scene, seen: Seen) -> None:
    assert scene.command(*create("pump")).returncode == 0
    move = ("persist", "--yes", "pump")
    done = at_once(scene, (*move, "0x81000010"), (*move, "0x81000011"))
    assert sorted(code for code, _ in done) == [0, 1], done
    (kept,) = handles(scene, PERSISTENT)
    assert (scene.state / "identities/pump/key.handle").read_text().strip() == f"0x{kept:08x}"
    lost = next(words for code, words in done if code)
    seen(" ".join(lost.split()))


@pytest.mark.faults("an identity being changed", "In use; nothing changed; then it works")
def test_a_locked_identity(scene: Scene, seen: Seen) -> None:
    assert scene.command(*create("pump")).returncode == 0
    folder = scene.state / "identities/pump"
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        words = scene.refuses(1, "request", "pump", "--subject", "CN=pump")
        assert "another process is changing 'pump'" in words
        words = scene.refuses(1, "persist", "pump", "0x81000010", "--yes")
        assert handles(scene, PERSISTENT) == []
    finally:
        os.close(descriptor)
    assert not (folder / "request.pem").exists()
    assert scene.command("request", "pump", "--subject", "CN=pump").returncode == 0
    seen(words)


@pytest.fixture
def simulated(scene: Scene) -> Iterator[Scene]:
    """The scene on a simulator of its own, with one ready identity."""
    for command in (
        create("gate"),
        ("request", "gate", "--subject", "CN=gate", "--san", "dns:localhost", "--role", "both"),
        ("demo-ca", "sign", "gate"),
    ):
        scene.shell.simulate(*command)
    yield scene
    for session in json.loads(scene.shell("session", "list", "--json").stdout)["sessions"]:
        scene.shell("session", "stop", session["id"])
    Simulator(scene.state / "simulator").stop()


@pytest.mark.faults("a session and requests", "all succeed; the session goes on")
def test_a_session_and_requests(simulated: Scene, seen: Seen) -> None:
    shell = simulated.shell
    server = shell.simulate("session", "start", "server", "gate", "--listen", "localhost:0")
    port = server["address"].rpartition(":")[2]
    client = shell.simulate(
        *("session", "start", "client", "gate", "--connect", f"localhost:{port}"),
        *("--protocol", "line", "--interval", "0.2"),
    )

    def facts() -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(shell("session", "show", client["id"], "--json").stdout)
        return shown

    wait_until(lambda: facts()["state"] == "running", seconds=ITSELF_S)
    before = facts()["messages"]
    requests = [("request", "gate", "--subject", f"CN=gate{one}") for one in range(3)]
    done = at_once(simulated, *requests, create("other"), which=["--simulate"])
    assert [code for code, _ in done] == [0] * 4, done
    wait_until(lambda: facts()["messages"] > before, seconds=ITSELF_S)
    assert facts()["state"] == "running"
    seen("three requests and a new key while client and server talked")
