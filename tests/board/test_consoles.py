"""The units of the console itself: what the kiosk may do, and the login of a serial line."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from support.shell import Shell

from tpmconsole.board.consoles import LOGIND, kiosk, serial_console
from tpmconsole.errors import ConsoleError
from tpmconsole.settings import Settings
from tpmconsole.system import systemd
from tpmconsole.system.systemd import UnitFiles


def lines(wanted: UnitFiles) -> list[str]:
    assert wanted.unit is not None
    return wanted.unit.text().splitlines()


def test_the_kiosk_is_started_on_its_terminal_with_little_else_allowed() -> None:
    wanted = kiosk(Settings(Path("/x")), "tty1")
    unit = lines(wanted)
    started = next(line for line in unit if line.startswith("ExecStart="))
    assert shlex.split(started)[1:] == [
        *("--kiosk", "--simulate", "--state", "/var/lib/tpmconsole-kiosk")
    ]
    assert "TTYPath=/dev/tty1" in unit
    assert "Environment=TERM=linux" in unit
    assert "Restart=always" in unit
    # A session that cannot see its own process would count as ended.
    assert not [one for one in unit if one.startswith("ProtectProc=")]
    assert [one for one in unit if one.startswith("DeviceAllow=")] == ["DeviceAllow=/dev/tty1 rw"]
    assert "NAutoVTs=0" in wanted.files()[LOGIND]
    for file in (LOGIND, "/etc/systemd/system/tpmconsole-kiosk.service"):
        assert str(file) in wanted.undo
    assert "; userdel tpmconsole-kiosk; rm -r /var/lib/tpmconsole-kiosk; " in wanted.undo
    assert wanted.undo.endswith("systemctl start getty@tty1.service")


def test_on_a_real_chip_and_a_serial_line_it_gets_these_and_no_more() -> None:
    wanted = kiosk(Settings(Path("/x"), tcti="device:/dev/tpmrm0"), "ttyS0", 57600)
    unit = lines(wanted)
    assert "ExecStartPre=+/bin/stty -F /dev/ttyS0 57600" in unit
    assert "Environment=TERM=vt220" in unit
    assert "SupplementaryGroups=tss" in unit
    assert [one for one in unit if one.startswith("DeviceAllow=")] == [
        "DeviceAllow=/dev/ttyS0 rw",
        "DeviceAllow=char-tpm rw",
    ]
    assert "Wants=dev-tpmrm0.device" in unit
    assert wanted.groups == ("tss",)


@pytest.mark.parametrize("tty", ["../tty1", "tty1\nExecStart=/bin/sh", "", "tty 1", "1"])
def test_what_is_no_terminal_gets_into_no_unit(tty: str) -> None:
    with pytest.raises(ConsoleError, match="No such terminal"):
        kiosk(Settings(Path("/x")), tty)
    with pytest.raises(ConsoleError, match="No such terminal"):
        serial_console(tty, 115200, "vt220")


def test_a_terminal_type_with_more_in_it_is_refused() -> None:
    with pytest.raises(ConsoleError, match="terminal type"):
        serial_console("ttyS0", 115200, "vt220 -a root")


def test_the_same_again_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpmconsole.board.consoles.UNITS", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/true")
    file = tmp_path / "serial-getty@ttyS0.service.d" / "tpmconsole.conf"
    assert systemd.install(serial_console("ttyS0", 115200, "vt220")) == [file]
    assert systemd.install(serial_console("ttyS0", 115200, "vt220")) == []
    assert systemd.install(serial_console("ttyS0", 9600, "vt100")) == [file]
    assert "ExecStart=-/sbin/agetty --noclear 9600 %I vt100" in file.read_text()


@pytest.mark.long
@pytest.mark.parametrize("tty", ["tty1", "ttyS0"])
def test_systemd_finds_nothing_wrong(tmp_path: Path, tty: str) -> None:
    wanted = kiosk(Settings(Path("/x"), tcti="device:/dev/tpmrm0"), tty)
    assert wanted.unit is not None
    file = tmp_path / wanted.unit.name
    file.write_text(wanted.unit.text())
    asked = subprocess.run(
        ["/usr/bin/systemd-analyze", "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in asked.stderr.splitlines() if file.name in line]
    assert not ours, asked.stderr


def test_the_commands_show_them_and_write_nothing(shell: Shell) -> None:
    shown = shell("install", "kiosk", "--tty", "tty2", "--dry-run").stdout
    assert "TTYPath=/dev/tty2" in shown
    assert "to start: systemctl enable --now tpmconsole-kiosk.service" in shown
    assert "to undo: systemctl disable --now tpmconsole-kiosk.service; rm /etc" in shown
    shown = shell("install", "serial-console", "--dry-run").stdout
    assert "ExecStart=-/sbin/agetty --noclear 115200 %I vt220" in shown
