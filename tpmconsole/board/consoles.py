"""systemd units for the kiosk on a terminal, and for the login of a serial line."""

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
    """The units for a visitor's console that starts on a terminal when the board boots.

    Args:
        settings: which TPM; the simulated one if no TPM is named.
        tty: the terminal's name without ``/dev/``.
        baud: its speed if it is a serial line.

    Raises:
        ConsoleError: ``tty`` is not the name of a terminal.
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
        notes.append(f"other users cannot run {_program()}: install tpmconsole in /opt")
    return UnitFiles(
        Unit(
            f"{KIOSK}.service",
            (
                ("Description", f"tpmconsole for visitors on {tty}"),
                ("After", f"systemd-user-sessions.service {getty}"),
                ("Conflicts", getty),
                *(after_device(settings.tcti) if devices else ()),
                # Restart it without a limit.
                ("StartLimitIntervalSec", "0"),
            ),
            (*_terminal(tty, baud), *_service(settings, devices, getty), *_limits(tty, devices)),
        ),
        user=KIOSK,
        groups=(TSS_GROUP,) if devices else (),
        notes=tuple(notes),
        # Otherwise Alt-F2 takes a visitor to a login.
        others={LOGIND: "[Login]\nNAutoVTs=0\nReserveVT=0\n"} if virtual else {},
        afterwards=tuple(afterwards),
        state=STATE,
    )


def _service(settings: Settings, devices: tuple[str, ...], getty: str) -> list[tuple[str, str]]:
    which = ("--tcti", settings.tcti) if settings.tcti and not settings.simulate else ()
    command = (_program(), "--kiosk", *(which or ("--simulate",)), "--state", STATE)
    # After the secret keys, the terminal's login starts again. Not with OnSuccess=: systemd 252
    # counts a restart as a success, and login and kiosk would alternate without end.
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
        # The secret keys end it with 0, systemctl stop with 143: both are a success.
        ("RestartPreventExitStatus", "0"),
        ("SuccessExitStatus", "143"),
        ("TimeoutStopSec", "10"),
    ]


def _terminal(tty: str, baud: int) -> list[tuple[str, str]]:
    virtual = _is_virtual(tty)
    stty = command_line(("/bin/stty", "-F", f"/dev/{tty}", str(baud)))
    return [
        # No getty runs here to set the speed. "+": as root.
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
        # Hiding other users' processes would also hide our own that cannot be traced (memory.py):
        # the kiosk would report its sessions as ended.
        *(one for one in HARDENED if one[0] != "ProtectProc"),
        # swtpm uses it to drop the privileges that it does not need.
        ("SystemCallFilter", "seccomp"),
        # If homes are hidden, a program in a home directory could not even be started.
        ("ProtectHome", "read-only" if in_home else "yes"),
        ("CapabilityBoundingSet", ""),
        ("DevicePolicy", "closed"),
        *map(allowed_device, (f"/dev/{tty}", *devices)),
        # Its sessions connect to this board only.
        ("IPAddressDeny", "any"),
        ("IPAddressAllow", "localhost"),
    ]


def serial_console(tty: str, baud: int, term: str) -> UnitFiles:
    """A drop-in that gives the login of a serial line the right terminal type and speed.

    Args:
        tty: the port's name without ``/dev/``.
        baud: its speed.
        term: the type of the terminal at the other end.

    Raises:
        ConsoleError: ``tty`` is not the name of a terminal, or ``term`` not a terminal type.
    """
    _is_virtual(tty)
    if not _TERM.fullmatch(term):
        raise usage_error(
            "No such terminal type",
            f"terminfo has no '{term[:40]}'",
            "use vt220, or see: infocmp -D",
        )
    getty = f"serial-getty@{tty}.service"
    drop_in = (
        f"[Service]\nEnvironment=TERM={term}\n"
        f"ExecStart=\nExecStart=-/sbin/agetty --noclear {baud} %I {term}\n"
    )
    return UnitFiles(
        None,
        notes=(f"it applies from the next login; to apply it now: systemctl restart {getty}",),
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
            "No such terminal",
            f"'{tty[:40]}' is not a terminal's name",
            "give a name such as tty1 or ttyS0",
        )
    return _VIRTUAL.fullmatch(tty) is not None
