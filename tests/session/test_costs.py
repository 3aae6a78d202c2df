"""What asking for sessions costs, in things that are read."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from tpmconsole.board import Board, report
from tpmconsole.board.dependents import dependents, forget, plan_forget
from tpmconsole.board.doctor import network
from tpmconsole.board.doctor.examination import Examination
from tpmconsole.board.sessions import outdated
from tpmconsole.errors import ConsoleError
from tpmconsole.session import event_files, events
from tpmconsole.session.directory import STATE, SessionConfig, new_folder, write_facts
from tpmconsole.session.events import EventLog
from tpmconsole.session.manager import SessionManager
from tpmconsole.session.spec import Credentials, SessionSpec
from tpmconsole.session.status import SessionStatus, State
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.settings import Settings
from tpmconsole.system import processes
from tpmconsole.system.processes import Process, boot_id, start_time
from tpmconsole.tpm.model import Connection, KeyRef, PersistentKey

SPEC = SessionSpec("client", "gateway", "127.0.0.1", 9)
KEY = PersistentKey("0x81000010", "EC P-256", (), "000b", "signing key", identity="gateway")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows each time all processes of the machine are looked at."""
    found: list[None] = []
    children_of_all = processes.children_of_all

    def counting() -> dict[int, list[int]]:
        found.append(None)
        return children_of_all()

    for module in ("tpmconsole.system.processes", "tpmconsole.session.usage"):
        monkeypatch.setattr(f"{module}.children_of_all", counting)
    return found


@pytest.fixture
def board(settings: Callable[..., Settings]) -> Board:
    """A board with an identity and two sessions, whose process is this test's."""
    board = Board(settings())
    board.identities.create(
        "gateway", key_pem=None, handle=0x81000010, algorithm="ec-p256", auth="none"
    )
    for _ in range(2):
        add_session(board.settings.sessions)
    return board


def add_session(root: Path) -> Path:
    credentials = Credentials("gateway", KeyRef(handle=0x81000010), Path("c"), Path("t"))
    connection = Connection("device:/dev/none", "test")
    order = SessionConfig(SPEC, credentials, connection, EngineChoice("bridge", "test"), boot_id())
    folder = new_folder(root, order)
    facts = SessionStatus(folder.name, "client", "gateway", SPEC.address)
    begun = facts.begun(os.getpid(), start_time(os.getpid()), SPEC.address)
    write_facts(folder / STATE, order.boot, replace(begun, state=State.RUNNING))
    return folder


def test_who_asks_whether_sessions_run_does_not_pay_for_their_usage(
    board: Board, looks: list[None]
) -> None:
    examination = Examination(board)
    asked: list[Callable[[], object]] = [
        lambda: board.sessions.list()[0].cpu_percent,
        board.sessions.any_running,
        lambda: board.sessions.running(SPEC),
        lambda: board.sessions.of_identity("gateway"),
        lambda: board.sessions.show("client-1"),
        board.sessions._tidy,
        lambda: dependents(board, KEY),
        lambda: outdated(board, "gateway"),
        lambda: network._servers(examination),
        lambda: list(network.handshakes(Examination(board, servers=()))),
    ]
    for ask in asked[1:5]:
        assert ask()
    for ask in asked:
        ask()
    for refused in (forget, plan_forget):
        with pytest.raises(ConsoleError, match="'gateway' is used by"):
            refused(board, "gateway")
    assert not looks


def test_who_shows_their_usage_looks_once_for_all_sessions(board: Board, looks: list[None]) -> None:
    shown = board.sessions.list(usage=True)
    assert [one.rss_bytes is not None for one in shown] == [True, True]
    assert len(looks) == 1
    assert board.sessions.show("client-2", usage=True).cpu_percent is not None
    assert len(looks) == 2
    data, _ = report._sessions(board, str)
    assert [one["cpu_percent"] is not None for one in data] == [True, True]
    assert len(looks) == 3


def test_usage_of_no_running_session_looks_at_nothing(
    settings: Callable[..., Settings], looks: list[None]
) -> None:
    assert Board(settings()).sessions.list(usage=True) == []
    assert not looks


def test_waiting_for_a_session_reads_each_event_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = SessionManager(tmp_path, tmp_path / "log")
    folder = add_session(tmp_path)
    log = EventLog(folder / STATE)
    log.write("started")
    opened, lines = [], []
    events_in, is_there = event_files.events_in, threading.Event()

    def counting(file: IO[bytes], limit: int) -> Iterator[dict[str, Any]]:
        opened.append(os.fstat(file.fileno()).st_ino)
        for event in events_in(file, limit):
            lines.append(event["event"])
            yield event
        if len(opened) == 5:
            log.write("listening")
            is_there.set()

    monkeypatch.setattr(event_files, "events_in", counting)
    us = Process(os.getpid(), start_time(os.getpid()))
    manager._wait_until_started(folder, us)
    assert is_there.is_set()
    assert len(opened) > 5  # rounds
    assert lines == ["started", "listening"]
    written = (folder / STATE / events.FILE).read_bytes().splitlines()
    assert [json.loads(line)["event"] for line in written] == lines
