"""The worker process: asked, missed, killed, replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.swtpm import SwtpmAlone
from support.waiting import wait_until

from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError, ExitCode, no_tpm
from tpmconsole.system.environment import plain_environment
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef
from tpmconsole.tpm.simulator import Simulator

ROOT = Path(__file__).parents[2]


def workers() -> list[int]:
    """Worker processes of this test run."""
    return [
        child.pid
        for child in psutil.Process().children()
        if "tpmconsole.tpm.worker" in child.cmdline()
    ]


def worker_of(tpm: Tpm) -> int:
    pid = tpm.worker_pid
    assert pid
    return pid


def ended(pid: int) -> bool:
    """Gone, or a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def beginning(tpm: Tpm) -> threading.Event:
    """Set when the worker, which has been used before, begins its next job."""
    worker, begun = tpm._dispatcher._worker, threading.Event()
    answer = worker._answer

    def first_answer(deadline: float) -> Any:
        found = answer(deadline)
        begun.set()
        return found

    worker._answer = first_answer  # type: ignore[method-assign]
    return begun


class Call(threading.Thread):
    """A question asked from a thread of its own."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        super().__init__(daemon=True)
        self._do = partial(function, *arguments)
        self.error: ConsoleError | None = None
        self.seconds = 0.0
        self.start()

    def run(self) -> None:
        begin = time.monotonic()
        try:
            self._do()
        except ConsoleError as error:
            self.error = error
        self.seconds = time.monotonic() - begin

    def finished(self, seconds: float = 5.0) -> Call:
        self.join(seconds)
        assert not self.is_alive()
        return self


def test_start_opens_the_tpm_in_the_background(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure)
    assert tpm.connection is None
    tpm.start()
    wait_until(lambda: tpm.connection and not tpm.activity, "the worker")
    pid = worker_of(tpm)
    assert tpm.health().simulated
    assert worker_of(tpm) == pid


def test_start_keeps_a_failure_for_the_first_question(client: Callable[..., Tpm]) -> None:
    def connect() -> Connection:
        raise no_tpm("nothing there", "use --simulate")

    tpm = client(connect)
    tpm.start()
    with pytest.raises(ConsoleError, match="nothing there"):
        tpm.health()


def test_an_unreachable_tpm_is_an_error_and_asked_for_again(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    there = [Connection(f"swtpm:path={alone.folder / 'none'}", "wrong"), alone.connection]
    tpm = client(lambda: there.pop(0))
    with pytest.raises(ConsoleError) as caught:
        tpm.health()
    assert (caught.value.title, caught.value.exit_code) == ("No TPM reached", ExitCode.NO_TPM)
    assert tpm.health().mode == "operational"
    assert there == []


def test_a_missed_deadline_kills_the_worker_and_the_next_call_has_a_new_one(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure, read=0.2)
    tpm.health()
    old = worker_of(tpm)
    alone.hang()
    begin = time.monotonic()
    with pytest.raises(ConsoleError) as caught:
        tpm.health()
    assert time.monotonic() - begin < 1.0
    assert (caught.value.title, caught.value.exit_code) == ("TPM does not answer", ExitCode.NO_TPM)
    assert old not in workers()
    assert tpm.activity is None
    alone.go_on()
    assert tpm.health().mode == "operational"
    assert worker_of(tpm) != old


def test_calls_wait_their_turn_and_their_deadline_counts_from_then(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure, **{"read": 0.4, "self-test": 0.4})
    tpm.health()
    alone.hang()
    first = Call(lambda: tpm.self_test(full=True))
    wait_until(lambda: tpm.activity)
    assert tpm.activity.label == "running the full self-test"
    assert time.monotonic() - tpm.activity.since < 0.4
    second = Call(tpm.health)
    assert "self-test" in first.finished().error.cause
    alone.go_on()
    assert second.finished().error is None


def test_close_ends_a_running_and_a_waiting_call_at_once(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure)
    tpm.health()
    pid = worker_of(tpm)
    alone.hang()
    running, waiting = Call(tpm.health), Call(lambda: tpm.self_test(full=True))
    wait_until(lambda: tpm.activity)
    begin = time.monotonic()
    tpm.close()
    tpm.close()
    assert time.monotonic() - begin < 1.0
    for call in (running, waiting):
        assert call.finished(1.0).error.title == "TPM not asked"
    assert not psutil.pid_exists(pid)
    with pytest.raises(ConsoleError, match="closing"):
        tpm.health()


def test_close_before_the_first_question_is_fine(client: Callable[..., Tpm]) -> None:
    tpm = client(lambda: pytest.fail("no need to connect"))
    tpm.close()
    with pytest.raises(ConsoleError, match="closing"):
        tpm.persistent_keys()


def test_a_worker_that_dies_at_work_is_named(
    alone: SwtpmAlone, client: Callable[..., Tpm], tmp_path: Path
) -> None:
    tpm = client(alone.ensure)
    tpm.health()
    alone.hang()
    begun, call = beginning(tpm), Call(tpm.health)
    assert begun.wait(20)
    os.kill(worker_of(tpm), signal.SIGSEGV)
    error = call.finished().error
    assert (error.title, error.exit_code) == ("TPM worker ended", ExitCode.UNEXPECTED)
    assert "signal 11 (Segmentation fault)" in error.cause
    assert str(tmp_path / "log") in say(error.remedy)
    assert "Segmentation fault" in (tmp_path / "log").read_text()
    alone.go_on()
    assert tpm.health().mode == "operational"


def test_a_worker_that_dies_idle_is_not_missed(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure)
    tpm.health()
    os.kill(worker_of(tpm), signal.SIGKILL)
    assert tpm.health().mode == "operational"


def test_a_restarted_tpm_is_connected_to_again_without_an_error(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256)
    for use in (
        tpm.health,
        lambda: tpm.check_key(KeyRef(pem)),
        lambda: tpm.persist(pem, 0x81000010),
        lambda: tpm.evict(0x81000010),
    ):
        alone.kill()
        use()


@pytest.mark.parametrize("program", ["swtpm", "dbus-daemon", "tpm2-abrmd"])
def test_any_dead_part_of_the_simulator_is_repaired_at_the_next_use(
    simulator: Simulator, client: Callable[..., Tpm], program: str
) -> None:
    tpm = client(simulator.ensure)
    pem = tpm.create(Algorithm.EC_P256)
    victim = psutil.Process(simulator.pids[program])
    victim.kill()
    wait_until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE)
    assert tpm.check_key(KeyRef(pem)).usable
    assert simulator.status().running
    tpm.close()


def test_sigterm_lets_a_job_finish_and_flush(alone: SwtpmAlone, client: Callable[..., Tpm]) -> None:
    tpm = client(alone.ensure)
    tpm.health()
    old = worker_of(tpm)
    alone.hang()
    begun, call = beginning(tpm), Call(tpm.create, Algorithm.EC_P256)
    assert begun.wait(20)
    os.kill(old, signal.SIGTERM)
    alone.go_on()
    assert call.finished().error is None
    assert tpm.health().transient.used == 0
    assert worker_of(tpm) != old


CONSOLE = """
import sys, threading
from pathlib import Path
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Connection

tpm = Tpm(lambda: Connection(sys.argv[1], ""), Path(sys.argv[2]))
tpm.health()
worker = tpm._dispatcher._worker
print(worker.process.pid, flush=True)
sys.stdin.readline()
begun, answer = threading.Event(), worker._answer

def first_answer(deadline):
    found = answer(deadline)
    begun.set()
    return found

worker._answer = first_answer
threading.Thread(target=tpm.health, daemon=True).start()
begun.wait()
print("busy", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("hung", [False, True])
def test_the_worker_does_not_outlive_the_console(
    alone: SwtpmAlone, tmp_path: Path, hung: bool
) -> None:
    console = subprocess.Popen(
        [sys.executable, "-c", CONSOLE, alone.connection.tcti, str(tmp_path / "log")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with console:
        pid = int(console.stdout.readline())
        if hung:
            alone.hang()
            console.stdin.write("\n")
            console.stdin.flush()
            assert console.stdout.readline() == "busy\n"
        console.kill()
    wait_until(lambda: ended(pid), "the worker's end")


def test_close_does_not_wait_for_a_connection_that_takes_long(
    alone: SwtpmAlone, client: Callable[..., Tpm]
) -> None:
    found = threading.Event()

    def connect() -> Connection:
        found.wait(10)
        return alone.connection

    tpm = client(connect)
    call = Call(tpm.health)
    wait_until(lambda: tpm.activity)
    begin = time.monotonic()
    tpm.close()
    assert time.monotonic() - begin < 1.0
    found.set()
    assert call.finished(1.0).error.title == "TPM not asked"


def test_what_c_code_prints_cannot_spoil_an_answer(tmp_path: Path) -> None:
    script = (
        "import os\n"
        "from tpmconsole.tpm.worker.__main__ import _private_output\n"
        "output = _private_output()\n"
        "os.write(1, b'chatter')\n"
        "output.write(b'answer')\n"
        "output.flush()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"answer", b"chatter")


def test_missing_libraries_are_told_with_their_packages(
    alone: SwtpmAlone, client: Callable[..., Tpm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tpm2_pytss.py").write_text("raise ImportError('libtss2-esys.so.0: not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    tpm = client(alone.ensure)
    for _ in range(2):
        with pytest.raises(ConsoleError) as caught:
            tpm.health()
        assert caught.value.title == "TPM libraries missing"
        assert "libtss2-esys" in say(caught.value.remedy)


def test_an_unexpected_failure_tells_places_but_no_values(
    alone: SwtpmAlone, client: Callable[..., Tpm], tmp_path: Path
) -> None:
    tpm = client(alone.ensure)
    with pytest.raises(ConsoleError) as caught:
        tpm._dispatcher.call("usable", "trying", 5, {"key": {"password": b"Secret-Value"}})
    assert (caught.value.title, caught.value.exit_code) == ("Unexpected", ExitCode.UNEXPECTED)
    log = (tmp_path / "log").read_text()
    assert "KeyError" in log
    assert "open_key.py" in log
    assert "Secret" not in log
    assert tpm.health().mode == "operational"


def test_the_environment_is_built_and_the_log_private(
    alone: SwtpmAlone, client: Callable[..., Tpm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENSSL_CONF", "/nowhere")
    monkeypatch.setenv("TPM2OPENSSL_TCTI", "swtpm")
    monkeypatch.setenv("TPM2OPENSSL_PARENT_AUTH", "x")
    tpm = client(alone.ensure)
    tpm.health()
    names = {name.partition("=")[0] for name in _environment_of(worker_of(tpm))}
    assert {name for name in names if "OPENSSL" in name} == {"OPENSSL_CONF"}
    assert "TSS2_LOG" in names
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def _environment_of(pid: int) -> list[str]:
    if os.geteuid() != 0:  # closed to others: it has passwords in its memory
        return [f"{name}=" for name in plain_environment()]
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


def test_a_password_is_in_no_argument_environment_or_log(
    alone: SwtpmAlone, client: Callable[..., Tpm], tmp_path: Path
) -> None:
    tpm = client(alone.ensure)
    pem = tpm.create(Algorithm.EC_P256, Auth(b"Geheim-1234"))
    assert not tpm.check_key(KeyRef(pem), Auth(b"Geheim-9999")).usable
    assert tpm.check_key(KeyRef(pem), Auth(b"Geheim-1234")).usable
    pid = worker_of(tpm)
    seen = Path(f"/proc/{pid}/cmdline").read_text() + "".join(_environment_of(pid))
    assert "Geheim" not in seen + (tmp_path / "log").read_text()


def test_nothing_is_left_open(alone: SwtpmAlone, client: Callable[..., Tpm]) -> None:
    def use() -> None:
        tpm = client(alone.ensure)
        tpm.health()
        tpm.close()

    use()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        use()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_importing_the_client_is_quick() -> None:
    script = (
        "import sys\n"
        "import tpmconsole.tpm.client\n"
        "print(sorted({'cryptography', 'tpm2_pytss', 'psutil', 'textual'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == "[]"
