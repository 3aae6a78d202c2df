"""The simulator: started once, repaired where it broke, stopped without a trace, its TPM kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.running import NOBODY, PROJECT, as_nobody, finished, needs_root, python
from support.waiting import assert_nothing_left, processes_of, wait_until

from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.system.environment import SEARCH_PATH
from tpmconsole.tpm import simulator as simulator_module
from tpmconsole.tpm.model import Connection
from tpmconsole.tpm.simulator import Simulator, programs

NAMES = {"swtpm", "dbus-daemon", "tpm2-abrmd"}

# A signing key with a password that the TPM protects against guessing, at a persistent handle.
MAKE_PROTECTED_KEY = """
from tpm2_pytss import *
e = ESAPI(ADDRESS)
public = TPM2B_PUBLIC.parse("ecc:ecdsa-sha256", objectAttributes=TPMA_OBJECT.USERWITHAUTH
    | TPMA_OBJECT.SIGN_ENCRYPT | TPMA_OBJECT.FIXEDTPM | TPMA_OBJECT.FIXEDPARENT
    | TPMA_OBJECT.SENSITIVEDATAORIGIN)
secret = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth="pw"))
handle = e.create_primary(secret, public)[0]
e.evict_control(ESYS_TR.OWNER, handle, 0x81000010)
"""
SIGN = """
from tpm2_pytss import *
e = ESAPI(ADDRESS)
key = e.tr_from_tpmpublic(0x81000010)
e.tr_set_auth(key, "pw")
no_scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
proof = TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)
e.sign(key, TPM2B_DIGEST(bytes(32)), no_scheme, proof)
"""
FAILED_TRIES = """
more, data = e.get_capability(TPM2_CAP.TPM_PROPERTIES, TPM2_PT.LOCKOUT_COUNTER, 1)
print(data.data.tpmProperties[0].value)
"""
RANDOM = "from tpm2_pytss import ESAPI; print(len(ESAPI(ADDRESS).get_random(8)))"


def in_tpm(connection: Connection, code: str) -> subprocess.Popen[str]:
    """Start a program that uses the simulated TPM; GLib keeps one bus for a process's life."""
    environment = {**os.environ, **connection.environment, "TSS2_LOG": "all+none"}
    return python(f"ADDRESS = {connection.tcti!r}\n{code}", environment)


def kill(simulator: Simulator, name: str) -> None:
    os.kill(simulator.pids[name], signal.SIGKILL)
    wait_until(lambda: name not in simulator.pids, f"the end of {name}")


def test_runs_and_answers(simulator: Simulator) -> None:
    before = simulator.status()
    assert (before.running, before.pids, before.bus) == (False, {}, None)
    connection = simulator.ensure()
    assert connection.simulated
    assert connection.tcti == "tabrmd:bus_type=session"
    status = simulator.status()
    assert status.running
    assert set(status.pids) == NAMES
    assert connection.environment == {"DBUS_SESSION_BUS_ADDRESS": status.bus}
    assert json.loads(json.dumps(status.to_json()))["pids"] == simulator.pids
    assert finished(in_tpm(connection, RANDOM)) == "8"


def test_healthy_is_left_alone_and_asked_quickly(simulator: Simulator) -> None:
    simulator.ensure()
    pids = simulator.pids
    took = []
    for _ in range(20):
        start = time.perf_counter()
        simulator.ensure()
        took.append(time.perf_counter() - start)
    assert simulator.pids == pids
    assert sorted(took)[10] < 0.02


def test_is_found_by_another_object_and_survives_its_starter(state: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tpmconsole.tpm.simulator import Simulator\n"
        "print(Simulator(Path(sys.argv[1])).ensure().environment)"
    )
    folder = state / "simulator"
    # The pipe would stay open if one of the three had it.
    started = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        cwd=PROJECT,
    )
    mine = Simulator(folder)
    pids = mine.pids
    assert set(pids) == NAMES
    assert str(mine.ensure().environment) == started.stdout.strip()
    assert mine.pids == pids
    for pid in pids.values():
        assert os.getsid(pid) == pid
        assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")


def test_environment_is_ours(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSSL_CONF", "/nowhere")
    monkeypatch.setenv("LD_PRELOAD", "")
    simulator.ensure()
    for pid in simulator.pids.values():
        names = {
            line.partition("=")[0]
            for line in Path(f"/proc/{pid}/environ").read_text().split("\0")
            if line
        }
        assert names == {
            "PATH",
            "LANG",
            "HOME",
            "TPM_PATH",
            "DBUS_SESSION_BUS_ADDRESS",
            "OPENSSL_CONF",
            "TPMCONSOLE_SIMULATOR",
        }


def test_everything_is_private(simulator: Simulator) -> None:
    simulator.ensure()
    for path in (simulator.folder, simulator.folder.parent, *simulator.folder.rglob("*")):
        mode = path.lstat().st_mode
        # The bus may let anybody knock: nobody gets into its folder.
        if not stat.S_ISSOCK(mode):
            assert stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600), path


def test_opens_no_port(simulator: Simulator) -> None:
    simulator.ensure()
    for pid in simulator.pids.values():
        assert psutil.Process(pid).net_connections(kind="inet") == []


def test_stop_leaves_nothing_but_the_tpm(simulator: Simulator) -> None:
    assert simulator.stop() is False
    simulator.ensure()
    assert simulator.stop() is True
    assert_nothing_left(simulator.folder)
    assert simulator.status().running is False
    assert simulator.status().bus is None
    names = {path.name for path in simulator.folder.iterdir()}
    logs = {f"{name}.log" for name in NAMES}
    assert names == {"tpm", "maker", "lock", "bus.conf", *logs}
    assert simulator.stop() is False


def test_many_starters_get_one_simulator(state: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tpmconsole.tpm.simulator import Simulator\n"
        f"s = Simulator(Path({str(state / 'simulator')!r}))\n"
        "s.ensure(); print(sorted(s.pids.items()))"
    )
    starters = [python(code) for _ in range(5)]
    answers = {finished(starter) for starter in starters}
    assert len(answers) == 1
    programs = [line.split()[1] for line in processes_of(state)]
    assert sorted(Path(program).name for program in programs) == sorted(NAMES)


@pytest.mark.parametrize(
    ("killed", "renewed"),
    [
        ("swtpm", {"swtpm", "tpm2-abrmd"}),
        ("dbus-daemon", {"dbus-daemon", "tpm2-abrmd"}),
        ("tpm2-abrmd", {"tpm2-abrmd"}),
    ],
)
def test_what_was_killed_is_repaired(simulator: Simulator, killed: str, renewed: set[str]) -> None:
    simulator.ensure()
    before = simulator.pids
    kill(simulator, killed)
    assert simulator.status().running is False
    connection = simulator.ensure()
    after = simulator.pids
    assert {name for name in NAMES if before[name] != after[name]} == renewed
    assert finished(in_tpm(connection, RANDOM)) == "8"


def test_suspended_ones_go_on(simulator: Simulator) -> None:
    simulator.ensure()
    pids = simulator.pids
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    connection = simulator.ensure()
    assert simulator.pids == pids
    assert finished(in_tpm(connection, RANDOM)) == "8"


def test_a_lost_socket_is_repaired(simulator: Simulator) -> None:
    simulator.ensure()
    for name in ("bus", "tpm.sock"):
        (simulator.folder / name).unlink()
        connection = simulator.ensure()
        assert finished(in_tpm(connection, RANDOM)) == "8"


def test_a_lost_folder_leaves_no_orphans(simulator: Simulator) -> None:
    simulator.ensure()
    before = simulator.pids
    shutil.rmtree(simulator.folder)
    assert simulator.status().running is False
    simulator.ensure()
    assert not set(before.values()) & set(simulator.pids.values())
    assert len(processes_of(simulator.folder)) == len(NAMES)


def test_stop_finds_what_nobody_wrote_down(simulator: Simulator) -> None:
    simulator.ensure()
    (simulator.folder / "runtime.json").unlink()
    assert simulator.stop() is True
    assert_nothing_left(simulator.folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"boot": 1, "sockets": 3, "processes": {}}', "null"]
)
def test_a_damaged_runtime_file_is_replaced(simulator: Simulator, text: str) -> None:
    simulator.folder.mkdir(parents=True)
    (simulator.folder / "runtime.json").write_text(text)
    assert simulator.status().running is False
    simulator.ensure()
    assert simulator.status().running


@pytest.mark.parametrize("change", ["started", "boot"])
def test_a_process_id_given_to_others_is_not_ours(simulator: Simulator, change: str) -> None:
    simulator.ensure()
    simulator.stop()
    with subprocess.Popen(["/bin/sleep", "60"], stdin=subprocess.DEVNULL) as stranger:
        started = int(Path(f"/proc/{stranger.pid}/stat").read_text().rpartition(")")[2].split()[19])
        data = {
            "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "sockets": str(simulator.folder),
            "processes": {name: {"pid": stranger.pid, "started": started} for name in NAMES},
        }
        runtime_file = simulator.folder / "runtime.json"
        runtime_file.write_text(json.dumps(data))
        assert simulator.status().running  # what the next lines change is what tells them apart
        if change == "boot":
            data["boot"] = "another"
        else:
            data["processes"] = {
                name: {"pid": stranger.pid, "started": started - 1} for name in NAMES
            }
        runtime_file.write_text(json.dumps(data))
        assert simulator.pids == {}
        simulator.stop()
        simulator.ensure()
        simulator.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_keys_outlast_a_stop_and_count_no_wrong_password(simulator: Simulator) -> None:
    finished(in_tpm(simulator.ensure(), MAKE_PROTECTED_KEY + SIGN))
    simulator.stop()
    assert finished(in_tpm(simulator.ensure(), SIGN + FAILED_TRIES)) == "0"
    # The same without order does count: the TPM cannot tell a power cut from a hidden guess.
    kill(simulator, "swtpm")
    assert finished(in_tpm(simulator.ensure(), SIGN + FAILED_TRIES)) == "1"


def test_a_busy_tpm_is_not_taken_for_a_dead_one(simulator: Simulator) -> None:
    connection = simulator.ensure()
    pids = simulator.pids
    make_rsa = "from tpm2_pytss import *\nESAPI(ADDRESS).create_primary(None, 'rsa2048')"
    makers = [in_tpm(connection, make_rsa) for _ in range(2)]
    slowest = 0.0
    while any(maker.poll() is None for maker in makers):
        start = time.perf_counter()
        simulator.ensure()
        slowest = max(slowest, time.perf_counter() - start)
    for maker in makers:
        finished(maker)
    assert simulator.pids == pids
    assert slowest < 1


def test_two_folders_are_two_tpms(simulator: Simulator, state: Path) -> None:
    other = Simulator(state / "other")
    try:
        first, second = simulator.ensure(), other.ensure()
        assert first.environment != second.environment
        assert other.stop()
        assert simulator.status().running
    finally:
        other.stop()


@pytest.mark.parametrize("name", ["x" * 120, "a, b=c:d;é"])
def test_a_path_that_no_socket_can_have(state: Path, name: str) -> None:
    simulator = Simulator(state / name)
    connection = simulator.ensure()
    sockets = Path(connection.environment["DBUS_SESSION_BUS_ADDRESS"].partition("path=")[2]).parent
    try:
        assert sockets != simulator.folder
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert finished(in_tpm(connection, RANDOM)) == "8"
        kill(simulator, "dbus-daemon")
        assert simulator.ensure() == connection
        shutil.rmtree(sockets)
        assert finished(in_tpm(simulator.ensure(), RANDOM)) == "8"
    finally:
        assert simulator.stop()
    assert not sockets.exists()
    assert_nothing_left(simulator.folder)


def search_path_with(folder: Path, **replaced: str | None) -> str:
    """A PATH with our three programs, one left out (None) or replaced by a script."""
    folder.mkdir()
    for name in NAMES:
        script = replaced.get(name.replace("-", "_"), "")
        if script:
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        elif script is not None:
            (folder / name).symlink_to(shutil.which(name, path=SEARCH_PATH) or "")
    return str(folder)


def refusal(simulator: Simulator) -> ConsoleError:
    with pytest.raises(ConsoleError) as caught:
        simulator.ensure()
    assert caught.value.title == "Simulator cannot start"
    assert caught.value.exit_code is ExitCode.NO_TPM
    return caught.value


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_missing_program_is_named(state: Path, name: str) -> None:
    path = search_path_with(state / "bin", **{name.replace("-", "_"): None})
    error = refusal(Simulator(state / "simulator", search_path=path))
    assert name in error.cause
    assert f"Debian package {name}" in say(error.remedy)
    assert_nothing_left(state / "simulator")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_program_that_ends_says_why(state: Path, name: str) -> None:
    script = {name.replace("-", "_"): "echo first; echo 'the last word' >&2; exit 3"}
    path = search_path_with(state / "bin", **script)
    error = refusal(Simulator(state / "simulator", search_path=path))
    assert error.cause == f"{name} ended: the last word"
    assert f"{name}.log" in say(error.remedy)
    assert_nothing_left(state / "simulator")
    assert not (state / "simulator" / "runtime.json").exists()


def test_a_program_that_never_gets_ready(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator_module, "START_S", 0.3)
    path = search_path_with(state / "bin", swtpm="exec sleep 60")
    error = refusal(Simulator(state / "simulator", search_path=path))
    assert error.cause == "swtpm is not ready after 0.3 s: its log is empty"
    assert_nothing_left(state / "simulator")


def test_a_damaged_tpm_state_says_so_and_where(simulator: Simulator) -> None:
    simulator.ensure()
    simulator.stop()
    kept = next(simulator.state.glob("*.permall"))
    kept.write_bytes(b"not a TPM")
    error = refusal(simulator)
    assert error.cause.startswith("swtpm ended: swtpm: ")
    assert "swtpm.log" in say(error.remedy)


def test_a_confined_swtpm_is_told_how_to_be_let_out(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = state / "usr.bin.swtpm"
    profile.write_text("")
    monkeypatch.setattr(programs, "SWTPM_PROFILE", profile)
    path = search_path_with(state / "bin", swtpm="exit 1")
    error = refusal(Simulator(state / "simulator", search_path=path))
    assert error.cause == "swtpm ended: its log is empty"
    assert f"owner {state / 'simulator'}/** rwk," in say(error.remedy)


def test_a_lock_that_is_never_given_back(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator_module, "LOCK_S", 0.05)
    simulator.ensure()
    with simulator._locked():
        other = Simulator(simulator.folder)
        assert other.ensure()  # a healthy one needs no lock
        with pytest.raises(ConsoleError, match="Simulator is busy"):
            other.stop()


def test_a_folder_that_cannot_be_made(state: Path) -> None:
    (state / "file").write_text("")
    error = refusal(Simulator(state / "file" / "simulator"))
    assert str(state / "file") in error.cause


@needs_root
def test_runs_for_a_user_without_rights(state: Path) -> None:
    os.chown(state, NOBODY, NOBODY)
    code = (
        f"s = simulator.Simulator(Path({str(state / 'simulator')!r}))\n"
        "s.ensure(); print(s.status().running, s.stop())"
    )
    assert as_nobody(code) == "True True"


@needs_root
def test_another_user_s_folder_is_refused(simulator: Simulator) -> None:
    simulator.ensure()
    simulator.folder.parent.chmod(0o755)
    code = (
        f"s = simulator.Simulator(Path({str(simulator.folder)!r}))\n"
        "try: s.ensure()\n"
        "except ConsoleError as error: print(error.title, int(error.exit_code), error.cause)"
    )
    answer = as_nobody(code)
    assert answer.startswith("Simulator cannot start 3")
    assert "permi" in answer
