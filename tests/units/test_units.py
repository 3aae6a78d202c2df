"""Units for systemd: what is in them, and that installing them can be repeated and undone."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from shell import Shell

from tpmconsole.errors import ConsoleError
from tpmconsole.settings import Settings
from tpmconsole.units.consoles import kiosk, serial_console
from tpmconsole.units.install import UNITS, Installation, install, remove
from tpmconsole.units.text import quoted

KIOSK = UNITS / "tpmconsole-kiosk.service"


def lines(wanted: Installation, path: Path = KIOSK) -> list[str]:
    return wanted.files[path].splitlines()


def test_the_kiosk_is_started_on_its_terminal_with_little_else_allowed(state: Path) -> None:
    unit = lines(kiosk(Settings(state), "tty1"))
    started = next(line for line in unit if line.startswith("ExecStart="))
    assert shlex.split(started)[1:] == [
        *("--kiosk", "--simulate", "--state", "/var/lib/tpmconsole-kiosk")
    ]
    assert "TTYPath=/dev/tty1" in unit
    assert "Environment=TERM=linux LANG=C.UTF-8" in unit
    assert "Restart=always" in unit
    assert [one for one in unit if one.startswith("DeviceAllow=")] == ["DeviceAllow=/dev/tty1 rw"]


def test_on_a_real_chip_and_a_serial_line_it_gets_these_and_no_more(state: Path) -> None:
    unit = lines(kiosk(Settings(state, tcti="device:/dev/tpmrm0"), "ttyS0", 57600))
    assert "ExecStartPre=+/bin/stty -F /dev/ttyS0 57600" in unit
    assert "Environment=TERM=vt220 LANG=C.UTF-8" in unit
    assert "SupplementaryGroups=tss" in unit
    assert [one for one in unit if one.startswith("DeviceAllow=")] == [
        "DeviceAllow=/dev/ttyS0 rw",
        "DeviceAllow=/dev/tpmrm0 rw",
    ]


@pytest.mark.parametrize("tty", ["../tty1", "tty1\nExecStart=/bin/sh", "", "tty 1", "1"])
def test_what_is_no_terminal_gets_into_no_unit(state: Path, tty: str) -> None:
    with pytest.raises(ConsoleError, match="No such terminal"):
        kiosk(Settings(state), tty)
    with pytest.raises(ConsoleError, match="No such terminal"):
        serial_console(tty, 115200, "vt220")


def test_a_terminal_type_with_more_in_it_is_refused() -> None:
    with pytest.raises(ConsoleError, match="terminal type"):
        serial_console("ttyS0", 115200, "vt220 -a root")


def test_words_are_quoted_as_systemd_reads_them() -> None:
    words = ["/opt/my tools/run", "100%", "$HOME", 'a"b', "back\\slash", ""]
    assert quoted(words) == '"/opt/my tools/run" "100%%" "$$HOME" "a\\"b" "back\\\\slash" ""'
    assert quoted(["/bin/run", "--tcti", "device:/dev/tpmrm0"]) == (
        "/bin/run --tcti device:/dev/tpmrm0"
    )


def test_installing_again_changes_nothing_and_undo_leaves_nothing(tmp_path: Path) -> None:
    wanted = serial_console("ttyS0", 115200, "vt220")
    path = tmp_path / "etc/systemd/system/serial-getty@ttyS0.service.d/tpmconsole.conf"
    assert install(wanted, tmp_path) is True
    assert install(wanted, tmp_path) is False
    assert path.stat().st_mode & 0o777 == 0o644
    assert install(serial_console("ttyS0", 9600, "vt220"), tmp_path) is True
    assert "agetty --noclear 9600 %I vt220" in path.read_text()
    assert remove(wanted, tmp_path) is True
    assert not path.parent.exists()
    assert remove(wanted, tmp_path) is False


def test_commands_are_run_in_their_order_and_a_refusal_is_told(tmp_path: Path) -> None:
    said = tmp_path / "said"
    wanted = Installation(
        name="test",
        files={tmp_path / "one.service": "[Unit]\n"},
        start=(("/bin/sh", "-c", f"echo started >>{said}"),),
        stop=(("/bin/sh", "-c", f"echo stopped >>{said}"),),
        stopped=(("/bin/sh", "-c", "echo first >&2; echo not that one >&2; exit 5"),),
        undo="",
    )
    assert install(wanted) is True
    with pytest.raises(ConsoleError, match="not that one"):
        remove(wanted)
    assert said.read_text().split() == ["started", "stopped"]
    assert not (tmp_path / "one.service").exists()


def test_the_commands_show_install_and_take_away(shell: Shell, tmp_path: Path) -> None:
    shown = shell("install", "kiosk", "--tty", "tty2", "--dry-run")
    assert "TTYPath=/dev/tty2" in shown.stdout
    assert "$ systemctl enable --now tpmconsole-kiosk.service" in shown.stdout
    done = shell("install", "kiosk", "--root", str(tmp_path))
    assert done.returncode == 0
    assert "to undo: tpmconsole install kiosk --tty tty1 --undo" in done.stdout
    assert (tmp_path / "etc/systemd/system/tpmconsole-kiosk.service").is_file()
    assert "unchanged" in shell("install", "kiosk", "--root", str(tmp_path)).stdout
    assert "taken away" in shell("install", "kiosk", "--root", str(tmp_path), "--undo").stdout
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
