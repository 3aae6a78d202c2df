"""The mistakes people make below the TPM: driver, devices, rights, clock, disk, terminal."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.running import NOBODY, as_nobody, needs_root
from support.shell import Shell

from tpmconsole import clock
from tpmconsole.board import Board
from tpmconsole.board.doctor import Finding, Surroundings, examine
from tpmconsole.board.doctor.modes import repair, wrong_modes
from tpmconsole.board.doctor.probes import PROBES
from tpmconsole.board.root_hint import root_note, say_once
from tpmconsole.cli.next_steps import say
from tpmconsole.session.manager import SessionManager
from tpmconsole.session.status import SessionStatus, State
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Connection
from tpmconsole.ui.pages.sessions.details import session_facts

Look = Callable[..., Finding]


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(state: Path) -> Path:
    """An empty board's root folder, with a sysfs that knows of nothing."""
    root = state / "root"
    for folder in ("dev", "sys/class", "run/dbus"):
        (root / folder).mkdir(parents=True)
    return root


@pytest.fixture
def look(settings: Callable[..., Settings], root: Path) -> Look:
    """Run one probe on a board whose files are in a folder."""

    def ask(name: str, environment: Mapping[str, str] | None = None, **options: object) -> Finding:
        (probe,) = (replace(one, needs=()) for one in PROBES if one.name == name)
        around = Surroundings(root, environment or {}, root / "etc/ssl")
        (found,) = examine(Board(settings(**options)), around=around, probes=[probe])
        assert found.state in ("ok", "warn", "fail", "skipped")
        assert bool(found.remedy) == (found.state in ("warn", "fail"))
        return found

    return ask


# Driver and device nodes


@pytest.mark.parametrize(
    ("files", "verdict", "text"),
    [
        ({}, "fail", "knows no TPM"),
        ({"/sys/firmware/acpi/tables/TPM2": "TPM2"}, "fail", "firmware announces a TPM, but no"),
        (
            {
                "/sys/firmware/devicetree/base/soc/spi@7e204000/tpm@0/compatible": "tcg,tpm\0",
                "/sys/firmware/devicetree/base/soc/spi@7e204000/tpm@0/status": "disabled\0",
            },
            "fail",
            "switched off (status disabled)",
        ),
        (
            {"/sys/firmware/devicetree/base/soc/spi@1/tpm@0/compatible": "infineon,slb9670\0"},
            "fail",
            "device tree has a TPM, but no driver has found it",
        ),
        ({"/sys/class/tpm/tpm0/tpm_version_major": "1\n"}, "fail", "TPM 1.2"),
        ({"/sys/class/tpm/tpm0/tpm_version_major": "2\n"}, "ok", "tpm0: no driver is named, TPM"),
    ],
)
def test_the_driver(look: Look, root: Path, files: dict[str, str], verdict: str, text: str) -> None:
    write(root, files)
    found = look("driver")
    assert found.state == verdict
    assert text in found.text


def test_a_driver_is_named_by_what_it_is_bound_to(look: Look, root: Path) -> None:
    write(root, {"/sys/class/tpm/tpm0/tpm_version_major": "2"})
    (root / "sys/bus/tpm_tis_spi").mkdir(parents=True)
    (root / "sys/class/tpm/tpm0/device").mkdir()
    (root / "sys/class/tpm/tpm0/device/driver").symlink_to(root / "sys/bus/tpm_tis_spi")
    assert look("driver").text == "tpm0: driver tpm_tis_spi, TPM 2.0"


def test_who_simulates_needs_no_driver(look: Look) -> None:
    assert look("driver", simulate=True).state == "skipped"
    assert look("manager", tcti="swtpm:port=1").state == "skipped"


def test_a_file_in_the_place_of_the_device(look: Look, root: Path) -> None:
    write(root, {"/dev/tpmrm0": "echo test > /dev/tpmrm0 makes one where udev has not run"})
    found = look("device")
    assert (found.state, "is not a device" in found.text) == ("fail", True)


def test_a_driver_without_a_node(look: Look, root: Path) -> None:
    write(root, {"/sys/class/tpm/tpm0/tpm_version_major": "2"})
    assert "/dev has no node" in look("device").text


def test_a_kernel_without_a_resource_manager(look: Look, root: Path) -> None:
    (root / "dev/tpm0").symlink_to("/dev/null")
    assert "no resource manager" in look("device").text
    assert look("manager").state == "warn"
    (root / "dev/tpmrm0").symlink_to("/dev/null")
    assert look("device").state == "ok"
    assert look("manager").text == f"the kernel's resource manager, {root}/dev/tpmrm0"


# Rights


@needs_root
@pytest.mark.parametrize(
    ("mode", "group", "text"),
    [
        (0o660, 1, "only its group daemon may open it | run `sudo usermod -aG daemon nobody`"),
        (0o600, 0, "only its owner may open it | run as root, or add a udev rule that"),
        (0o666, 0, "every user of this board may use"),
    ],
)
def test_a_user_who_is_not_in_the_devices_group(
    root: Path, mode: int, group: int, text: str
) -> None:
    device = root / "dev/tpmrm0"
    os.mknod(device, stat.S_IFCHR | mode, os.makedev(1, 3))
    device.chmod(mode)
    os.chown(device, 0, group)
    for folder in (root.parent, root, root / "dev"):
        folder.chmod(0o755)
    said = as_nobody(
        f"around = Surroundings(Path({str(root)!r}))\n"
        "wanted = [one for one in probes.PROBES if one.name in ('device', 'permission')]\n"
        "board = Board(Settings(Path('/nowhere')))\n"
        "*_, found = examine(board, around=around, probes=wanted)\n"
        "print(found.state, found.text, '|', found.remedy)"
    )
    assert said.startswith("warn" if mode == 0o666 else "fail")
    assert text in said


@needs_root
def test_root_is_told_once_that_it_need_not_be(tmp_path: Path) -> None:
    device = tmp_path / "tpmrm0"
    device.write_text("")
    for mode, group, needless in ((0o660, 1, True), (0o660, 0, False), (0o600, 1, False)):
        os.chown(device, 0, group)
        device.chmod(mode)
        assert (root_note(Connection(f"device:{device}", "test")) is not None) is needless
    os.chown(device, 0, 1)
    device.chmod(0o660)
    connection = Connection(f"device:{device}", "test")
    assert "the group daemon" in str(say_once(tmp_path, connection))
    assert say_once(tmp_path, connection) is None
    assert root_note(Connection("tabrmd:", "the simulator", simulated=True)) is None


def test_modes_are_found_and_repaired(look: Look, state: Path) -> None:
    write(state, {"identities/gateway/key.pem": "-", "audit.jsonl": "{}"})
    for path in state.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    state.chmod(0o700)
    assert look("files").state == "ok"
    (state / "identities/gateway/key.pem").chmod(0o644)
    (state / "identities").chmod(0o755)
    (state / "link").symlink_to("/etc/passwd")
    found = look("files")
    assert found.state == "fail"
    assert "2 of our files" in found.text
    assert f"{state}/identities: 0755, should be 0700" in found.evidence
    assert repair(wrong_modes(state)) == 2
    assert look("files").state == "ok"
    assert (state / "identities/gateway/key.pem").stat().st_mode & 0o777 == 0o600


@needs_root
def test_anothers_file_is_named_and_left_alone(look: Look, state: Path) -> None:
    write(state, {"identities/gateway/key.pem": "-"})
    for path in (state / "identities", state / "identities/gateway"):
        path.chmod(0o700)
    theirs = state / "identities/gateway/key.pem"
    theirs.chmod(0o600)
    os.chown(theirs, NOBODY, NOBODY)
    found = look("files")
    assert (found.state, "belongs to nobody" in found.text) == ("fail", True)
    assert theirs in [one.path for one in wrong_modes(state)]
    repair(wrong_modes(state))
    assert theirs.stat().st_uid == NOBODY


# Clock, entropy, disk, terminal


def test_a_clock_that_was_never_set(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look("clock").state == "ok"
    monkeypatch.setattr(clock, "now", lambda: datetime(1970, 1, 1, tzinfo=UTC))
    found = look("clock")
    assert (found.state, "not plausible" in found.text) == ("fail", True)
    assert "no real-time clock" in found.evidence[0]


def test_a_clock_without_a_battery(look: Look, root: Path) -> None:
    write(root, {"/sys/class/rtc/rtc0/name": "rtc-pcf8523 1-0068", "/sys/class/rtc/rtc0/x": ""})
    for seconds, verdict in ((time.time(), "ok"), (86_400 * 365 * 30, "warn"), (0, "warn")):
        write(root, {"/sys/class/rtc/rtc0/since_epoch": f"{seconds:.0f}\n"})
        found = look("clock")
        assert found.state == verdict
        assert any("rtc-pcf8523" in line for line in found.evidence)
    assert "battery" in found.text


def test_a_state_directory_in_memory(look: Look, root: Path, state: Path) -> None:
    mounts = "22 1 0:21 / / rw - ext4 /dev/mmcblk0p2 rw\n"
    write(root, {"/proc/self/mountinfo": mounts})
    assert "is on ext4" in look("disk").evidence[0]
    write(
        root, {"/proc/self/mountinfo": f"{mounts}9 22 0:5 / {state} rw shared:1 - tmpfs tmp rw\n"}
    )
    assert "a restart loses all" in look("disk").text
    assert look("disk", simulate=True).state == "ok"


@pytest.mark.parametrize(("term", "verdict"), [("dumb", "warn"), ("", "warn"), ("vt220", "ok")])
def test_the_terminal(look: Look, term: str, verdict: str) -> None:
    assert look("terminal", {"TERM": term}).state == verdict


def test_a_package_that_is_gone(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpmconsole.board.doctor.programs.PACKAGES", ("textual", "no-such-package"))
    found = look("packages")
    assert (found.state, found.remedy) == ("fail", "run: pip install no-such-package")


# Servers


@pytest.fixture
def listener() -> object:
    """A port that answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_is_not_there(settings: Callable[..., Settings], listener: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()[1]
    servers = [("nowhere.invalid", 443), ("127.0.0.1", closed), ("127.0.0.1", listener)]
    probes = [one for one in PROBES if one.name in ("dns", "tcp", "tls")]
    found = list(examine(Board(settings()), servers=servers, probes=probes))
    assert [one.state for one in found if one.name == "dns"] == ["fail", "ok", "ok"]
    assert "no host of that name" in found[0].text
    assert any("nothing listens there" in one.text for one in found if one.name == "tcp")
    assert sorted(one.state for one in found if one.name == "tls") == [
        "skipped",
        "skipped",
        "warn",
    ]


def test_the_commands_repair_modes_after_a_yes_and_refuse_a_bad_address(shell: Shell) -> None:
    shell.state.chmod(0o755)
    assert "should be 0700" in shell.refuse(2, "doctor", "--repair")["cause"]
    assert shell.state.stat().st_mode & 0o777 == 0o755
    done = json.loads(shell("doctor", "--repair", "--yes", "--json").stdout)
    assert done == {
        "simulated": False,
        "repaired": [str(shell.state)],
        "left": 0,
        "changed": True,
    }
    assert shell.state.stat().st_mode & 0o777 == 0o700
    shell.refuse(2, "doctor", "--server", "nowhere")


def _session(**changes: Any) -> SessionStatus:
    facts = SessionStatus("server-1", "server", "gateway", "127.0.0.1:1", pid=9)
    return replace(facts, **{"state": State.RUNNING, **changes})


@pytest.mark.parametrize(
    ("changes", "by_root", "told"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"unit": "tpmconsole-server-1.service"}, True, False),
        ({"simulated": True}, True, False),
        ({"state": State.STOPPED}, True, False),
    ],
)
def test_a_session_that_root_started_is_told(
    look: Look,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    by_root: bool,
    told: bool,
) -> None:
    one = _session(**changes)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if by_root else 1000)
    monkeypatch.setattr(SessionManager, "list", lambda *_, **__: [one])
    found = look("privilege")
    assert ("run as root, unconfined: server-1" in found.text) is told
    assert ("process 9 as root" in session_facts(one)[0].text) is told
    if told:
        assert found.state == "warn"
        assert found.remedy is not None
        assert "tpmconsole session install server-1" in say(found.remedy)
