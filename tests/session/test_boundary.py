"""A session that was taken over: its files cannot harm, mislead or redirect their readers.

Each attack was made on a real board by code inside a confined session's process; here its files
are written as that code left them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.running import NOBODY, needs_root, python
from support.shell import Shell
from support.technician import console

import tpmconsole
from tpmconsole.board import Board
from tpmconsole.board.lines import event_line, session_lines
from tpmconsole.board.report import make_report
from tpmconsole.board.storage_names import with_name
from tpmconsole.errors import ConsoleError
from tpmconsole.identity.record import parse_record
from tpmconsole.inputs import parse_json, parse_toml
from tpmconsole.session import events, ownership
from tpmconsole.session.directory import (
    LOG_FILE,
    ORDER_FILE,
    STATE,
    SessionConfig,
    new_folder,
    read_order,
)
from tpmconsole.session.event_files import names_of
from tpmconsole.session.events import EventLog, read_events
from tpmconsole.session.launcher import last_words
from tpmconsole.session.ownership import hold_lock, is_lock_held
from tpmconsole.session.said import event_of, object_of
from tpmconsole.session.spec import Credentials, PasswordFiles, SessionSpec
from tpmconsole.session.status import FILE, SessionStatus, State
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.settings import Settings
from tpmconsole.system.files import make_private_folder
from tpmconsole.system.processes import Process, boot_id, start_time
from tpmconsole.system.untrusted import NotTheirFileError, open_to_append, open_to_read
from tpmconsole.tpm.errors import STORAGE_NAMES
from tpmconsole.tpm.model import Connection, KeyRef
from tpmconsole.tpm.worker import protocol

DEEP = 1500
NESTED = "[" * DEEP + "]" * DEEP


@pytest.fixture
def board(settings: Callable[..., Settings]) -> Board:
    return Board(settings(tcti="device:/nowhere", tcti_source="--tcti"))


@pytest.fixture
def folder(board: Board) -> Path:
    """The state folder of a session."""
    credentials = Credentials("gateway", KeyRef(handle=0x81000010), Path("c"), Path("t"))
    order = SessionConfig(
        SessionSpec("client", "gateway", "h", 1),
        credentials,
        Connection("device:/dev/none", "test"),
        EngineChoice("bridge", "test"),
        "-",
    )
    made = new_folder(board.settings.sessions, order) / STATE
    say(made, good())
    return made


TOLD = SessionStatus("client-1", "client", "gateway", "h:1", state=State.STOPPED)


def good() -> dict[str, Any]:
    return TOLD.to_json() | {"boot": "-"}


def say(folder: Path, data: object) -> None:
    (folder / FILE).write_text(data if isinstance(data, str) else json.dumps(data))


# Fields

WRONG = {
    "address": [1],
    "identity": [1],
    "peer": "CN=somebody",
    "pid": "1",
    "start_time": 1e300,
    "handshake_ms": {"recent": "1" * 100},
    "last_error": {"title": 1, "cause": [], "remedy": {}},
    "connections": True,
    "messages": 1 << 70,
    "waiting_for": 3,
    "started": None,
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.attacks("a wrong field in a session's status", "dropped and reported; lists complete")
def test_a_field_that_is_wrong_ends_no_list(board: Board, folder: Path, name: str) -> None:
    say(folder, good() | {name: WRONG[name]})
    (listed,) = board.sessions.list()
    assert listed.last_error is not None
    assert listed.last_error.title == "Session file damaged"
    assert session_lines([listed])
    shell = Shell(board.settings.state)
    told = shell("session", "list", "--json")
    assert (told.returncode, "Traceback" in told.stderr) == (0, False)
    assert "client-1" in make_report(board, findings=()).text


@pytest.mark.parametrize("text", [NESTED, f'{{"id": {NESTED}}}', "9" * 5000, "NaN", "\ud800"])
def test_a_file_that_is_no_object_ends_no_list(board: Board, folder: Path, text: str) -> None:
    (folder / FILE).write_bytes(text.encode("utf-8", "surrogatepass"))
    (listed,) = board.sessions.list()
    assert listed.state == State.FAILED
    assert listed.last_error is not None
    assert listed.last_error.title == "Session file damaged"
    assert board.sessions.stop("client-1").state == State.FAILED


def test_what_is_wrong_is_said_also_of_one_that_is_gone(board: Board, folder: Path) -> None:
    say(folder, good() | {"state": "running", "identity": [1], "messages": "7", "pid": 1})
    (listed,) = board.sessions.list()
    assert (listed.state, listed.identity) == (State.FAILED, "gateway")
    assert listed.last_error is not None
    assert listed.last_error.title == "Session ended"
    assert "has no valid identity, messages" in listed.last_error.cause


async def test_page_4_goes_on(board: Board, folder: Path) -> None:
    say(folder, good() | {"address": [1], "identity": [1]})
    other = folder.parent.with_name("client-2")
    shutil.copytree(folder.parent, other)
    say(other / STATE, good() | {"peer": "somebody", "state": "failed"})
    async with console(board.settings) as technician:
        await technician.press("4")
        await technician.sees("client-1")
        for key in ("enter", "escape", "down", "enter"):
            await technician.press(key)
            await technician.idle()
        await technician.sees("client-2")


def test_nested_brackets_are_an_error_of_the_file() -> None:
    for parse, text in ((parse_json, NESTED), (parse_toml, f"a = {NESTED}")):
        with pytest.raises(ValueError, match="nested too deep"):
            parse(text)
    record, problem = parse_record(f"algorithm = {NESTED}".encode(), "gateway")
    assert record.name == "gateway"
    assert "nested too deep" in str(problem)


def test_json_and_toml_are_read_in_one_place_which_bounds_them() -> None:
    package = Path(tpmconsole.__file__).parent
    readers = re.compile(r"\b(json|tomllib)\.loads?\(")
    found = [path for path in package.rglob("*.py") if readers.search(path.read_text())]
    assert found == [package / "inputs.py"]


def test_nested_brackets_from_a_worker_and_about_its_tpm(board: Board) -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        protocol.decode(NESTED.encode())
    state = make_private_folder(board.settings.state)
    (state / STORAGE_NAMES).write_text(NESTED)
    connection = Connection("device:/nowhere", "test")
    assert with_name(state, connection) == connection


@pytest.mark.attacks("1,500 nested brackets", "an error of that file only")
def test_nested_brackets_in_every_file_of_ours(board: Board, folder: Path) -> None:
    state = board.settings.state
    say(folder, NESTED)
    other = folder.parent.with_name("client-2")
    shutil.copytree(folder.parent, other)
    (other / ORDER_FILE).write_text(NESTED)
    (folder / events.FILE).write_text(NESTED + "\n")
    (state / "audit.jsonl").write_text(NESTED + "\n")
    (state / "selftest.json").write_text(NESTED)
    (state / "simulator").mkdir()
    (state / "simulator" / "runtime.json").write_text(NESTED)
    identity = state / "identities" / "gateway"
    identity.mkdir(parents=True)
    (identity / "identity.toml").write_text(f"algorithm = {NESTED}")
    (identity / "key.handle").write_bytes(b"0x81000010\x1c")
    shell = Shell(state)
    for command in (("session", "list"), ("keys",), ("report", "--out", "-"), ("status",)):
        done = shell("--tcti", "device:/nowhere", *command)
        assert "Traceback" not in done.stderr
        assert done.returncode != 5, (command, done.stderr)
    told = shell("report", "--out", "-").stdout
    assert "== log" in told
    assert "key.handle has no handle" in str(board.identities.get("gateway").problem)
    (state / "tpmconsole.toml").write_text(f"tcti = {NESTED}")
    assert shell("session", "list").returncode == 2


# Links, pipes, and other users' files


@pytest.mark.parametrize("name", [FILE, *names_of(events.FILE), events.RECENT_FILE, LOG_FILE])
@pytest.mark.parametrize("kind", ["link", "fifo", "socket-like folder"])
@pytest.mark.attacks("a link or a FIFO in place of its files", "not opened; nothing hangs")
def test_what_is_no_plain_file_is_not_opened(
    board: Board, folder: Path, tmp_path: Path, name: str, kind: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"event": "message", "text": "SECRET"}\nSECRET\n')
    (folder / name).unlink(missing_ok=True)
    if kind == "link":
        (folder / name).symlink_to(secret)
    elif kind == "fifo":
        os.mkfifo(folder / name)
    else:
        (folder / name).mkdir()
    say_running = good() | {"state": "running", "pid": 1, "start_time": 1}
    if name != FILE:
        say(folder, say_running)
    told = Shell(board.settings.state)("report", "--out", "-")
    assert "SECRET" not in told.stdout
    assert "== sessions" in told.stdout
    assert "Traceback" not in told.stderr
    assert list(board.sessions.events("client-1")) == []
    assert last_words(folder) == ""
    if kind != "socket-like folder":
        with pytest.raises(NotTheirFileError):
            open_to_append(folder / name)
    EventLog(folder).write("stopped")
    assert secret.read_text().count("\n") == 2


@needs_root
def test_another_users_file_is_not_read(tmp_path: Path) -> None:
    theirs = tmp_path / "state"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    file = theirs / "events.jsonl"
    file.write_text("SECRET\n")  # owned by root, as a hard link would be if the kernel allowed one
    with pytest.raises(NotTheirFileError):
        open_to_read(file)
    os.chown(file, NOBODY, NOBODY)
    open_to_read(file).close()
    os.link(file, theirs / "again")
    with pytest.raises(NotTheirFileError):
        open_to_read(file)


@pytest.mark.attacks("an endless file of a session", "read from its end, bounded")
def test_an_endless_file_is_read_from_its_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_BYTES", 1000)
    lines = [json.dumps({"event": "message", "number": one}) + "\n" for one in range(1000)]
    (folder / events.FILE).write_text("".join(lines))
    numbers = [event["number"] for event in read_events(folder)]
    assert numbers[-1] == 999
    assert len(numbers) < 40
    (folder / events.FILE).write_bytes(b"")
    os.truncate(folder / events.FILE, 1 << 40)
    assert list(read_events(folder)) == []


# A forged order


@pytest.mark.attacks("a forged order", "it is ignored")
def test_what_a_session_says_changes_nothing_of_its_order(
    board: Board, folder: Path, tmp_path: Path
) -> None:
    """These made root copy /etc/shadow to a session's folder, and load the session's library."""
    before = board.sessions.show("client-1")
    order = json.loads((folder.parent / ORDER_FILE).read_text())
    order["credentials"] |= {"certificate": "/etc/shadow", "trust": "/other/key.pem"}
    order["connection"] |= {"tcti": str(tmp_path / "evil.so")}
    del order["engine"]
    said = {"unit": None, "id": "client-9", "identity": "another", "role": "server"}
    say(folder, good() | order | said | {"simulated": True, "protocol": "https"})
    (folder / ORDER_FILE).write_text(json.dumps(order))
    assert board.sessions.show("client-1") == before
    unit = board.sessions.unit("client-1", PasswordFiles()).unit
    assert unit is not None
    text = unit.text()
    assert not [one for one in ("shadow", "/other/", "evil", str(folder)) if one in text]
    read = read_order(folder.parent)
    assert (str(read.credentials.certificate), read.connection.tcti) == ("c", "device:/dev/none")


@pytest.mark.attacks("a link where the unit installs files", "root runs nothing there")
def test_nothing_that_root_runs_is_where_a_session_may_write(board: Board, folder: Path) -> None:
    unit = board.sessions.unit("client-1", PasswordFiles()).unit
    assert unit is not None
    by_root = [value for _, value in unit.service if value.startswith("+")]
    assert by_root
    assert all("/run/tpmconsole/client-1" in one and str(folder) not in one for one in by_root)


@needs_root
@pytest.mark.attacks("another user's order", "root refuses to make it a service")
def test_root_makes_no_service_of_what_another_user_has_ordered(board: Board, folder: Path) -> None:
    for theirs in (folder.parent / ORDER_FILE, folder.parent):
        os.chown(theirs, NOBODY, NOBODY)
        with pytest.raises(ConsoleError, match="Not safe for root"):
            board.sessions.unit("client-1", PasswordFiles())
        os.chown(theirs, 0, 0)
    assert board.sessions.unit("client-1", PasswordFiles())


@needs_root
@pytest.mark.attacks("events.jsonl as a link", "root writes nothing there")
def test_root_writes_nothing_where_a_session_is_at_home(
    board: Board, folder: Path, tmp_path: Path, victim: subprocess.Popen[bytes]
) -> None:
    """As after a session that had to be killed: its end was written to files that it had chosen."""
    sudoers = tmp_path / "sudoers"
    sudoers.write_text("root\n")
    (folder / events.FILE).symlink_to(sudoers)
    os.chown(folder, NOBODY, NOBODY)
    forged(folder, victim.pid)
    for file in folder.iterdir():
        os.chown(file, NOBODY, NOBODY, follow_symlinks=False)
    status = (folder / FILE).read_bytes()
    before = board.sessions.show(folder.parent.name)
    assert board.sessions._after_stop(folder.parent, before).state == State.STOPPED
    assert sudoers.read_text() == "root\n"
    assert (folder / FILE).read_bytes() == status


# Another program's process


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not belong to a session."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process
        process.kill()


def forged(folder: Path, pid: int, /, **more: Any) -> None:
    """A session claims to be another process."""
    running = {"state": "running", "pid": pid, "start_time": start_time(pid), "boot": boot_id()}
    say(folder, good() | running | more)


@pytest.mark.attacks("a forged process number", "not ended")
def test_a_process_that_holds_no_lock_is_not_ended(
    board: Board, folder: Path, victim: subprocess.Popen[bytes]
) -> None:
    forged(folder, victim.pid)
    for ask in (board.sessions.stop, board.sessions.reload):
        with pytest.raises(ConsoleError, match="which is not its own"):
            ask("client-1")
    assert victim.poll() is None
    with holding(folder) as holder:
        assert is_lock_held(folder)
        assert board.sessions.show("client-1").pid == victim.pid  # of its own user
        assert board.sessions.stop("client-1").state == State.STOPPED
        assert holder.wait(10) < 0
    assert victim.poll() is None
    assert not is_lock_held(folder)


_WAIT = "import time; time.sleep(60)"
_HOLD = "from pathlib import Path; from tpmconsole.session.ownership import hold_lock"


@contextmanager
def holding(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the session's lock, and so is the session's."""
    process = python(f"{_HOLD}; hold_lock(Path({str(folder)!r})); print(1, flush=True); {_WAIT}")
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def instead(folder: Path) -> Path:
    """The file of the status."""
    (folder / FILE).unlink()
    return folder / FILE


SAID: dict[str, Callable[[Path, int], None]] = {
    "nothing": lambda folder, _: say(folder, "{"),
    "a link": lambda folder, _: instead(folder).symlink_to("/x"),
    "a folder": lambda folder, _: instead(folder).mkdir(),
    "stopped": lambda folder, _: say(folder, good() | {"state": "stopped"}),
    "starting": lambda folder, _: say(
        folder, good() | {"state": "starting", "boot": boot_id(), "started": "9999-01-01T00:00Z"}
    ),
    "another process": forged,
    "a process that is gone": lambda folder, pid: forged(folder, pid, start_time=1),
}


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("proof", ["lock", "command line"])
@pytest.mark.attacks("a status with another process", "session stop ends the right one")
def test_a_session_is_ended_whatever_it_says(
    board: Board, folder: Path, victim: subprocess.Popen[bytes], kind: str, proof: str
) -> None:
    SAID[kind](folder, victim.pid)
    if proof == "lock":
        with holding(folder) as holder:
            board.sessions.stop("client-1")
            assert holder.wait(10) < 0
    else:
        told = f"print(1, flush=True); {_WAIT}"
        argv = [sys.executable, "-c", told, ownership.PROGRAM, str(folder.parent)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # before that the kernel may still show another command line
            if kind == "starting":  # do not wait for one that never writes its number
                folder.joinpath(FILE).write_text("{")
            board.sessions.stop("client-1")
            assert process.wait(10) < 0
    assert victim.poll() is None
    assert board.sessions.show("client-1").state.ended


def test_a_session_whose_status_is_damaged_is_shown_as_running(board: Board, folder: Path) -> None:
    say(folder, "{")
    with holding(folder) as holder:
        (shown,) = board.sessions.list()
        assert (shown.state, shown.pid) == (State.RUNNING, holder.pid)
        assert shown.last_error is not None
        assert shown.last_error.title == "Session file damaged"
        (folder.parent / ORDER_FILE).write_text("{")
        assert board.sessions.stop("client-1").state == State.FAILED
        assert holder.wait(10) < 0


@needs_root
def test_another_users_process_is_not_even_shown(
    board: Board, folder: Path, victim: subprocess.Popen[bytes]
) -> None:
    os.chown(folder, NOBODY, NOBODY)
    for file in folder.iterdir():
        os.chown(file, NOBODY, NOBODY)
    for pid in (victim.pid, 1, os.getpid()):
        forged(folder, pid)
        (shown,) = board.sessions.list(usage=True)
        assert (shown.state, shown.rss_bytes) == (State.FAILED, None)
        assert board.sessions.stop("client-1").state == State.FAILED
        assert list(board.sessions.pids()) == []
    assert victim.poll() is None


@pytest.mark.parametrize("number", [0, -1, 2**62, 1])
def test_numbers_that_are_no_process_of_ours(board: Board, folder: Path, number: int) -> None:
    forged(folder, os.getpid(), pid=number)
    assert board.sessions.show("client-1", usage=True).state == State.FAILED
    assert board.sessions.stop("client-1").state == State.FAILED


@pytest.mark.attacks("a process number that was reused", "no signal (pidfd)")
def test_a_signal_never_reaches_who_has_the_id_by_now(victim: subprocess.Popen[bytes]) -> None:
    began = start_time(victim.pid)
    Process(victim.pid, began + 1).signal(signal.SIGKILL)
    assert victim.poll() is None
    assert Process(victim.pid, began).belongs_to(os.getuid())
    assert not Process(victim.pid, began).belongs_to(os.getuid() + 1)
    Process(victim.pid, began).signal(signal.SIGKILL)
    assert victim.wait(10) == -signal.SIGKILL


# Arbitrary bytes

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["error", "handshake", "running", "failed", "stop the session", "renew"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [one.name for one in fields(SessionStatus)]
                + ["title", "cause", "remedy", "next", "action", "subject", "text", "time", "event"]
                + ["code", "final", "recent", "reload", "ms", "answer", "skipped", "self", "{x}"]
            ),
            inner,
            max_size=8,
        )
    ),
    max_leaves=25,
)


@given(anything)
def test_no_status_leads_to_an_exception(data: Any) -> None:
    changed = good() | (data if isinstance(data, dict) else {"peer": data})
    try:
        facts = TOLD.as_said(changed)
    except ValueError:
        return
    assert json.dumps(facts.to_json(), allow_nan=False)
    assert all(line.isprintable() for line in session_lines([facts]))


@given(anything, st.sampled_from(["error", "handshake", "started", "message", "x"]))
def test_no_event_leads_to_an_exception(data: Any, kind: str) -> None:
    whole = {"event": kind} | (data if isinstance(data, dict) else {"peer": data})
    event = event_of(json.dumps(whole).encode())
    if event is None:
        return
    assert json.dumps(event, allow_nan=False)
    assert event_line(event).isprintable()
    if event["event"] == "error":
        assert str(ConsoleError.from_json(event))


@given(st.binary(max_size=300))
def test_no_bytes_lead_to_an_exception(data: bytes) -> None:
    event = event_of(data)
    assert event is None or event_line(event).isprintable()
    try:
        TOLD.as_said(object_of(data))
    except ValueError:
        return


def test_who_holds_a_lock_is_asked_of_the_kernel(tmp_path: Path) -> None:
    """Outside, a dynamic user's folder belongs to `nobody`: there the lock's holder decides."""
    lock = hold_lock(tmp_path)
    assert ownership._holder(tmp_path / "lock") == os.getpid()
    lock.close()
    (tmp_path / "free").touch()
    assert ownership._holder(tmp_path / "free") is None
