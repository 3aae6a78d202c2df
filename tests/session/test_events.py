"""What a session writes of what happens, how much of it, and where it is read again."""

from __future__ import annotations

import logging
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from tpmconsole.errors import ConsoleError
from tpmconsole.session import event_files, events
from tpmconsole.session.events import EventLog, EventReader, follow_events, read_events
from tpmconsole.session.memory_folder import clear_memory_folder
from tpmconsole.session.said import event_of
from tpmconsole.system.rates import MOST_CAUSES, Allowances, QuietLog, Rate, bound_log


def test_events_are_rotated_and_two_old_files_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FILE_BYTES", 2000)
    log = EventLog(tmp_path)
    for number in range(200):
        log.write("noted", number=number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["events.jsonl", *(f"events.jsonl.{one}" for one in ("1", "2", "past"))]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())
    numbers = [event["number"] for event in read_events(tmp_path)]
    assert numbers[-1] == 199
    assert all(after == before + 1 for before, after in pairwise(numbers))


def test_followers_see_everything_across_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FILE_BYTES", 3000)
    monkeypatch.setattr(events, "POLL_S", 0.001)
    log, seen, turn = EventLog(tmp_path), [], threading.Semaphore(0)

    def write() -> None:
        for number in range(100):
            log.write("noted", number=number)
            turn.acquire(timeout=10)

    writer = threading.Thread(target=write)
    writer.start()
    for event in follow_events(tmp_path, lambda: not writer.is_alive()):
        seen.append(event["number"])
        turn.release()
    assert seen == list(range(100))


def test_a_reader_gets_each_event_once_however_often_files_are_rotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FILE_BYTES", 1000)
    log = EventLog(tmp_path)
    with EventReader(tmp_path) as reader:
        assert list(reader.read()) == []
        written = 0
        # A file holds some dozen: between two looks there are none to two rotations.
        for more in (1, 0, 3, 15, 30, 1, 25):
            for _ in range(more):
                log.write("noted", number=written)
                written += 1
            seen = [event["number"] for event in reader.read()]
            assert seen == list(range(written - more, written))
        for _ in range(200):
            log.write("noted", number=written)
            written += 1
        seen = [event["number"] for event in reader.read()]
        # Some files were gone before it looked; what it gets is in order and up to the last.
        assert seen[-1] == written - 1
        assert seen == sorted(set(seen))
        assert list(reader.read()) == []


def test_a_reader_reads_no_line_twice_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path)
    parsed: list[bytes] = []

    def parse(line: bytes) -> dict[str, object] | None:
        parsed.append(line)
        return event_of(line)

    monkeypatch.setattr(event_files, "event_of", parse)
    with EventReader(tmp_path) as reader:
        for number in range(50):
            log.write("noted", number=number)
            assert len(list(reader.read())) == 1
    assert len(parsed) == 50


def test_half_lines_and_rubbish_are_no_events(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.write("started", text="x" * 5000, nothing=None)
    with (tmp_path / events.FILE).open("ab") as file:
        file.write(b"rubbish\n[1]\n" + b"y" * 200_000 + b"\n")
        file.write(b'{"event": "half"')
    (started,) = read_events(tmp_path)
    assert started["text"] == "x" * events.TEXT_LENGTH + "..."
    assert "nothing" not in started
    follower = follow_events(tmp_path, lambda: True)
    assert [event["event"] for event in follower] == ["started"]
    assert list(read_events(tmp_path / "absent")) == []
    assert list(follow_events(tmp_path / "absent", lambda: True)) == []


def test_half_a_line_that_a_power_cut_left_costs_no_event(tmp_path: Path) -> None:
    (tmp_path / events.FILE).write_bytes(b'{"event": "sta')
    log = EventLog(tmp_path)
    for event in ("started", "stopped"):
        log.write(event)
    assert [one["event"] for one in read_events(tmp_path)] == ["started", "stopped"]


def test_a_flood_is_counted_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "DISK_RATE", Rate(10, 0.0))
    log = EventLog(tmp_path)
    for number in range(60):
        log.write("error", title="Broken", cause="rubbish", number=number)
    log.write("error", title="Another", cause="at once")
    log.write("error", title="Broken", cause="the end", final=True)
    written = list(read_events(tmp_path))
    assert [one["cause"] for one in written] == ["rubbish"] * 10 + ["at once", "the end"]
    assert [one.get("skipped") for one in written[-2:]] == [None, 50]


def test_what_the_disk_does_not_get_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "DISK_RATE", Rate(10, 0.0))
    disk, memory = tmp_path / "disk", tmp_path / "memory"
    disk.mkdir()
    memory.mkdir()
    log = EventLog(disk, memory)
    with EventReader(disk, memory) as reader:
        for number in range(100):
            log.write("message", number=number)
            assert [one["number"] for one in reader.read()] == [number]
        log.write("stopped")
        clear_memory_folder(memory, disk)
        assert not memory.exists()
        assert [one["event"] for one in reader.read()] == ["stopped"]
    assert [one.get("number") for one in read_events(disk, memory)] == [*range(100), None]
    assert len((disk / events.FILE).read_text().splitlines()) == 11


def test_a_place_in_memory_that_is_gone_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "DISK_RATE", Rate(1, 0.0))
    log = EventLog(tmp_path, tmp_path / "absent")
    for _ in range(3):
        log.write("message")
    log.write("message", final=True)
    assert [one.get("skipped") for one in read_events(tmp_path)] == [None, 2]


def test_a_noisy_cause_displaces_nothing_but_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FILE_BYTES", 3000)
    monkeypatch.setattr(events, "DISK_RATE", Rate(1e9, 0.0))
    log = EventLog(tmp_path)
    log.write("error", title="Once", cause="long ago")
    for _ in range(2):
        log.write("started")
    for number in range(2000):
        log.write("error", title="Broken", cause="rubbish", number=number)
    written = list(read_events(tmp_path))
    assert [one["event"] for one in written[:3]] == ["error", "started", "started"]
    assert written[0]["title"] == "Once"
    assert written[-1]["number"] == 1999
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4 * 3000


def line_of(cause: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.WARNING, "", 0, "rubbish from %s", (cause,), None)


def test_a_flood_does_not_fill_the_log() -> None:
    quiet = QuietLog(Rate(10, 0.0))
    errors = [ConsoleError(title, "c", "r") for title in ("A", "B")]
    for error in errors:  # each has its own allowance
        assert sum(quiet.filter(line_of(error)) for _ in range(50)) == 10
    assert sum(quiet.filter(line_of("h")) for _ in range(50)) == 10
    quiet = QuietLog(Rate(1, 1e6))
    assert quiet.filter(line_of("h"))
    quiet._allowances.skip("x\nrubbish from %s")
    told = line_of("h")
    assert quiet.filter(told)
    assert told.getMessage() == "rubbish from h (1 like this were left out before it)"


def test_causes_without_number_share_an_allowance() -> None:
    allowances = Allowances(Rate(1, 0.0))
    assert sum(allowances.take(str(number)) for number in range(10_000)) == MOST_CAUSES + 1


def test_a_log_that_is_too_long_loses_only_what_is_noisy(tmp_path: Path) -> None:
    log = tmp_path / "session.log"
    with log.open("ab", buffering=0) as file:
        file.write(b"once, and never again\n")
        for number in range(1000):
            file.write(b"WARNING:esys:%d: error 0x%08x\n" % (number, number))
        bound_log(file.fileno(), 100_000)
        assert log.stat().st_size > 20_000
        bound_log(file.fileno(), 20_000)
        file.write(b"and on\n")
    lines = log.read_bytes().splitlines()
    assert lines[0] == b"once, and never again"
    assert lines[-2:] == [b"WARNING:esys:999: error 0x000003e7", b"and on"]
    assert log.stat().st_size <= 10_000 + 7
    with (tmp_path / "pipe").open("wb") as file:
        bound_log(file.fileno(), 0)  # nothing to do


def test_what_a_peer_says_cannot_play_with_the_terminal(tmp_path: Path) -> None:
    EventLog(tmp_path).write("message", text="\x1b[2J\x07hello\n")
    (event,) = read_events(tmp_path)
    assert event["text"] == r"\x1b[2J\x07hello\x0a"
    assert events.plain("abcdef", 4) == "abcd..."
