"""The console by itself: for visitors on a terminal, and behind the login of a serial line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tpmconsole.errors import usage_error
from tpmconsole.settings import Settings
from tpmconsole.system.systemd import (
    HARDENED,
    TSS_GROUP,
    UNITS,
    Unit,
    UnitFiles,
    after_device,
    allowed_device,
    command_line,
    environment,
    reachable_by_others,
)

KIOSK = "tpmconsole-kiosk"
STATE = Path("/var/lib") / KIOSK
LOGIND = Path("/etc/systemd/logind.conf.d") / f"{KIOSK}.conf"

_TTY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")
_VIRTUAL = re.compile(r"tty[0-9]+")
_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,40}")
_HOMES = ("/home/", "/root/")
_KEYS = "ctrl-alt-del.target"


def kiosk(settings: Settings, tty: str, baud: int = 115200) -> UnitFiles:
    """The visitor's console on a terminal, from the start of the board on.

    Args:
        settings: which TPM; the simulated one where none is named.
        tty: the terminal's name without ``/dev/``.
        baud: its speed where it is a serial line.

    Raises:
        ConsoleError: that is no name of a terminal.
    """
    virtual = _is_virtual(tty)
    getty = f"{'getty' if virtual else 'serial-getty'}@{tty}.service"
    devices = () if settings.simulate else _devices(settings.tcti)
    notes = [f"its settings: [kiosk] in {STATE}/tpmconsole.toml"]
    afterwards = [f"systemctl start {getty}"]
    if virtual:
        notes.append(f"so that Ctrl-Alt-Del does not restart the board: systemctl mask {_KEYS}")
        afterwards.insert(0, f"systemctl unmask {_KEYS}")
    if not reachable_by_others(_program()):
        notes.append(f"other users may not run {_program()}: install tpmconsole below /opt")
    return UnitFiles(
        Unit(
            f"{KIOSK}.service",
            (
                ("Description", f"tpmconsole for visitors on {tty}"),
                ("After", f"systemd-user-sessions.service {getty}"),
                ("Conflicts", getty),
                *(after_device(settings.tcti) if devices else ()),
                # However often it has to, it comes back.
                ("StartLimitIntervalSec", "0"),
            ),
            (*_terminal(tty, baud), *_service(settings, devices, getty), *_limits(tty, devices)),
        ),
        user=KIOSK,
        groups=(TSS_GROUP,) if devices else (),
        notes=tuple(notes),
        # Else Alt-F2 leads a visitor to a login.
        others={LOGIND: "[Login]\nNAutoVTs=0\nReserveVT=0\n"} if virtual else {},
        afterwards=tuple(afterwards),
        state=STATE,
    )


def _service(settings: Settings, devices: tuple[str, ...], getty: str) -> list[tuple[str, str]]:
    which = ("--tcti", settings.tcti) if settings.tcti and not settings.simulate else ()
    command = (_program(), "--kiosk", *(which or ("--simulate",)), "--state", STATE)
    # Ended by its secret keys: the terminal asks for a login again. Not by OnSuccess=: systemd 252
    # takes a restart for a success, and login and kiosk would chase each other for ever.
    login = f'test "$EXIT_CODE/$EXIT_STATUS" != exited/0 || /bin/systemctl --no-block start {getty}'
    return [
        ("ExecStart", command_line(command)),
        ("ExecStopPost", f"+{command_line(('/bin/sh', '-c', login))}"),
        ("User", KIOSK),
        *([("SupplementaryGroups", TSS_GROUP)] if devices else []),
        ("StateDirectory", KIOSK),
        ("StateDirectoryMode", "0700"),
        ("Restart", "always"),
        ("RestartSec", "2"),
        # Its secret keys end it with 0; systemctl stop with 143, which is as good.
        ("RestartPreventExitStatus", "0"),
        ("SuccessExitStatus", "143"),
        ("TimeoutStopSec", "10"),
    ]


def _terminal(tty: str, baud: int) -> list[tuple[str, str]]:
    virtual = _is_virtual(tty)
    stty = command_line(("/bin/stty", "-F", f"/dev/{tty}", str(baud)))
    return [
        # getty would have set the speed; here is none. "+": as root.
        *([] if virtual else [("ExecStartPre", f"+{stty}")]),
        *environment({"TERM": "linux" if virtual else "vt220", "LANG": "C.UTF-8"}),
        ("TTYPath", f"/dev/{tty}"),
        ("TTYReset", "yes"),
        ("TTYVHangup", "yes"),
        *([("TTYVTDisallocate", "yes")] if virtual else []),
        ("StandardInput", "tty-force"),
        ("StandardOutput", "tty"),
        ("StandardError", "journal"),
    ]


def _limits(tty: str, devices: tuple[str, ...]) -> list[tuple[str, str]]:
    in_home = any(str(path).startswith(_HOMES) for path in (_program(), Path(sys.base_prefix)))
    return [
        # Where others' processes are hidden, those of ours that nobody may trace (memory.py) are,
        # too: the kiosk would take its sessions for ended.
        *(one for one in HARDENED if one[0] != "ProtectProc"),
        # With it swtpm takes from itself what it does not need.
        ("SystemCallFilter", "seccomp"),
        # A program in somebody's home could not even be started where homes are hidden.
        ("ProtectHome", "read-only" if in_home else "yes"),
        ("CapabilityBoundingSet", ""),
        ("DevicePolicy", "closed"),
        *map(allowed_device, (f"/dev/{tty}", *devices)),
        # Its sessions talk to this board alone.
        ("IPAddressDeny", "any"),
        ("IPAddressAllow", "localhost"),
    ]


def serial_console(tty: str, baud: int, term: str) -> UnitFiles:
    """The login of a serial line with the right terminal type and speed.

    Args:
        tty: the port's name without ``/dev/``.
        baud: its speed.
        term: the terminal type of whatever is at its other end.

    Raises:
        ConsoleError: that is no name of a terminal or of a terminal type.
    """
    _is_virtual(tty)
    if not _TERM.fullmatch(term):
        raise usage_error(
            "No such terminal type", f"'{term[:40]}' is none", "use vt220, or see: infocmp -D"
        )
    getty = f"serial-getty@{tty}.service"
    drop_in = (
        f"[Service]\nEnvironment=TERM={term}\n"
        f"ExecStart=\nExecStart=-/sbin/agetty --noclear {baud} %I {term}\n"
    )
    return UnitFiles(
        None,
        notes=(f"it counts from the next login on that line; at once: systemctl restart {getty}",),
        others={UNITS / f"{getty}.d" / "tpmconsole.conf": drop_in},
        wanted=getty,
    )


def _program() -> Path:
    return Path(sys.executable).with_name("tpmconsole")


def _devices(tcti: str | None) -> tuple[str, ...]:
    name, _, path = (tcti or "").partition(":")
    if name != "device":
        return ()
    return (path,) if path else ("/dev/tpmrm0", "/dev/tpm0")


def _is_virtual(tty: str) -> bool:
    if not _TTY.fullmatch(tty):
        raise usage_error(
            "No such terminal", f"'{tty[:40]}' is no name of one", "name it as tty1 or ttyS0"
        )
    return _VIRTUAL.fullmatch(tty) is not None
