"""What a session writes often is in memory, and its disk gets only a little of it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.running import NOBODY, needs_root
from support.waiting import wait_until
from support.world import World, port_of

from tpmconsole.errors import ConsoleError
from tpmconsole.session import memory_folder
from tpmconsole.session.directory import STATE, find_places, memory_of, read_order, write_facts
from tpmconsole.session.events import FILE as EVENTS
from tpmconsole.session.events import RECENT_FILE
from tpmconsole.session.memory_folder import choose_memory_folder, make_memory_folder
from tpmconsole.session.process import recorder
from tpmconsole.session.process.recorder import Recorder
from tpmconsole.session.status import FILE, SessionStatus, State
from tpmconsole.system import mounts

FACTS = SessionStatus("client-1", "client", "gateway", "h:1")


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as one in memory."""
    place = tmp_path / "memory"
    place.mkdir()
    monkeypatch.setattr(memory_folder, "RUN", place)
    monkeypatch.setattr(memory_folder, "SHARED", place)
    monkeypatch.setattr(memory_folder, "is_in_memory", lambda path: path == place)
    return place


def test_the_kernel_says_what_is_in_memory(tmp_path: Path) -> None:
    listed = tmp_path / "mountinfo"
    listed.write_text(
        "1 0 8:1 / / rw - ext4 /dev/vda rw\n"
        "2 1 0:5 / /run rw,nosuid shared:5 - tmpfs tmpfs rw\n"
        "3 2 8:2 / /run/media/a\\040b rw - vfat /dev/sda rw\n"
    )
    kinds = [
        mounts.file_system_of(Path(path), listed)
        for path in ("/var/lib", "/run/x", "/run/media/a b/c")
    ]
    assert kinds == ["ext4", "tmpfs", "vfat"]
    assert mounts.file_system_of(Path("/"), tmp_path / "absent") == ""
    assert not mounts.is_in_memory(Path("/proc"))


def test_a_place_that_is_on_a_disk_is_not_chosen(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = choose_memory_folder(Path("/s"), "client-1")
    assert chosen is not None
    assert chosen.parent == memory / f"tpmconsole-user-{os.geteuid()}"
    assert chosen.name.endswith("-client-1")
    assert choose_memory_folder(Path("/t"), "client-1") != chosen
    monkeypatch.setattr(memory_folder, "is_in_memory", lambda _: False)
    assert choose_memory_folder(Path("/s"), "client-1") is None


def test_a_user_has_a_place_of_its_own(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    chosen = choose_memory_folder(Path("/s"), "client-1", {"XDG_RUNTIME_DIR": str(memory)})
    assert chosen is not None
    assert chosen.parent == memory / "tpmconsole-user-1000"


@needs_root
def test_a_folder_that_somebody_else_has_made_is_not_used(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, NOBODY, NOBODY)
    assert not make_memory_folder(theirs / "client-1")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "own")
    (tmp_path / "own").mkdir(mode=0o700)
    assert not make_memory_folder(link / "client-1")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    assert not make_memory_folder(open_to_all / "client-1")
    assert make_memory_folder(tmp_path / "own" / "client-1")


def test_a_session_that_runs_is_read_from_memory_and_leaves_nothing_there(
    world: World, memory: Path
) -> None:
    server = world.server()
    facts = world.client(port_of(server), count=None, interval_s=0.1)
    folder = world.folder / "sessions" / facts.id
    state, there = find_places(folder)
    assert there is not None
    assert there.is_relative_to(memory)
    wait_until(lambda: world.supervisor.show(facts.id).messages >= 2)
    on_disk = json.loads((state / FILE).read_text())
    assert on_disk["messages"] == 0
    world.supervisor.stop(facts.id)
    assert json.loads((state / FILE).read_text())["messages"] >= 2
    world.supervisor.stop(server.id)
    assert list((memory / f"tpmconsole-user-{os.geteuid()}").iterdir()) == []


def test_a_session_that_was_killed_is_cleaned_up_after(world: World, memory: Path) -> None:
    server = world.server()
    folder = world.folder / "sessions" / server.id
    assert server.pid is not None
    os.kill(server.pid, 9)
    wait_until(lambda: world.supervisor.show(server.id).state == State.FAILED)
    assert find_places(folder).memory is not None
    world.supervisor._after_stop(folder, server)
    assert list(memory.rglob("*-server-1")) == []
    assert json.loads((folder / STATE / FILE).read_text())["state"] == "stopped"


def test_what_another_session_or_user_has_in_memory_is_not_believed(
    world: World, memory: Path
) -> None:
    server = world.server()
    folder = world.folder / "sessions" / server.id
    order = read_order(folder)
    assert memory_of(folder, order) == order.memory
    assert memory_of(folder.with_name("server-7"), order) is None
    assert memory_of(folder, replace(order, memory=memory / "absent-server-1")) is None
    if os.geteuid() == 0:
        assert order.memory is not None
        os.chown(order.memory, NOBODY, NOBODY)
        assert memory_of(folder, order) is None


def test_the_disk_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, there = tmp_path / "disk", tmp_path / "there"
    disk.mkdir()
    there.mkdir()
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    written: list[int] = []
    live = Recorder(disk, "boot", FACTS, there)
    for second in range(1300):
        now_s[0] += 1
        live.add(messages=1)
        live.keep()
        assert json.loads((there / FILE).read_text())["messages"] == second + 1
        if (count := json.loads((disk / FILE).read_text())["messages"]) not in written:
            written.append(count)
    assert written == [1, 601, 1201]


def test_without_a_place_in_memory_the_disk_is_written_more_seldom_than_facts_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    live = Recorder(tmp_path, "boot", FACTS)
    seen = set()
    for _ in range(365):
        now_s[0] += 1
        live.add(messages=1)
        live.keep()
        seen.add((tmp_path / FILE).read_text())
    assert len(seen) == 4
    live.enter(State.RUNNING)  # a caller waits for that
    assert json.loads((tmp_path / FILE).read_text())["state"] == "running"


def test_a_place_in_memory_that_is_full_or_gone_is_not_taken_for_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, there = tmp_path / "disk", tmp_path / "there"
    disk.mkdir()
    there.mkdir()
    live = Recorder(disk, "boot", FACTS, there)
    live.keep(durable=True)
    assert (there / FILE).exists()

    def full(folder: Path, *arguments: object, **options: object) -> None:
        if folder == there:
            raise ConsoleError("Not written", "no space", "-")
        write_facts(folder, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(recorder, "write_facts", full)
    live.add(messages=1)
    live.keep(at_once=True)
    assert not (there / FILE).exists()
    assert json.loads((disk / FILE).read_text())["messages"] == 1


def test_an_order_that_names_another_folder_removes_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("1")
    memory_folder.clear_memory_folder(tmp_path)
    assert (tmp_path / "precious").exists()
    assert EVENTS != RECENT_FILE
