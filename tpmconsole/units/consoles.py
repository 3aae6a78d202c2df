"""The console by itself: for visitors on a terminal, and behind the login of a serial line."""

from __future__ import annotations

import re
from pathlib import Path

from tpmconsole.errors import usage_error
from tpmconsole.settings import Settings
from tpmconsole.units.install import UNITS, Installation
from tpmconsole.units.text import hardening, program, quoted, tpm_devices, which_tpm

KIOSK = "tpmconsole-kiosk"
KIOSK_STATE = f"/var/lib/{KIOSK}"
USERS = Path("/etc/sysusers.d") / f"{KIOSK}.conf"
LOGINS = Path("/etc/systemd/logind.conf.d") / f"{KIOSK}.conf"

_TTY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")
_VIRTUAL = re.compile(r"tty[0-9]+")
_RELOAD = ("systemctl", "daemon-reload")


def kiosk(settings: Settings, tty: str, baud: int = 115200) -> Installation:
    """The visitor's console on a terminal, from the start of the board on.

    Args:
        settings: which TPM; the simulated one where none is named.
        tty: the terminal's name without ``/dev/``.
        baud: its speed where it is a serial line.

    Raises:
        ConsoleError: that is no name of a terminal.
    """
    _check_tty(tty)
    virtual = _VIRTUAL.fullmatch(tty) is not None
    getty = f"{'getty' if virtual else 'serial-getty'}@{tty}.service"
    unit = f"{KIOSK}.service"
    undo = f"tpmconsole install kiosk --tty {tty} --undo"
    files = {
        UNITS / unit: _kiosk_unit(settings, tty, baud, getty, undo),
        USERS: f'u {KIOSK} - "tpmconsole for visitors" {KIOSK_STATE}\n',
    }
    # Else Alt-F2 leads a visitor to a login, and Ctrl-Alt-Del to a restart.
    if virtual:
        files[LOGINS] = "[Login]\nNAutoVTs=0\nReserveVT=0\n"
    restart_keys = ("ctrl-alt-del.target",) if virtual else ()
    return Installation(
        name="kiosk",
        files=files,
        start=(
            ("systemd-sysusers", str(USERS)),
            _RELOAD,
            *(("systemctl", "mask", one) for one in restart_keys),
            ("systemctl", "enable", "--now", unit),
        ),
        stop=(("systemctl", "disable", "--now", unit),),
        stopped=(
            _RELOAD,
            *(("systemctl", "unmask", one) for one in restart_keys),
            ("systemctl", "start", getty),
        ),
        undo=undo,
        note=f"its state is in {KIOSK_STATE}; its settings: [kiosk] in tpmconsole.toml there",
    )


def serial_console(tty: str, baud: int, term: str) -> Installation:
    """The login of a serial line with the right terminal type and speed.

    Args:
        tty: the port's name without ``/dev/``.
        baud: its speed.
        term: the terminal type of whatever is at its other end.

    Raises:
        ConsoleError: that is no name of a terminal or of a terminal type.
    """
    _check_tty(tty)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,40}", term):
        raise usage_error(
            "No such terminal type", f"'{term[:40]}' is none", "use vt220, or see: infocmp -D"
        )
    undo = f"tpmconsole install serial-console --tty {tty} --undo"
    return Installation(
        name="serial-console",
        files={
            UNITS / f"serial-getty@{tty}.service.d" / "tpmconsole.conf": "\n".join(
                (
                    f"# Written by tpmconsole; to undo: {undo}",
                    "[Service]",
                    f"Environment=TERM={term}",
                    "ExecStart=",
                    f"ExecStart=-/sbin/agetty --noclear {baud} %I {term}",
                    "",
                )
            )
        },
        start=(_RELOAD, ("systemctl", "enable", f"serial-getty@{tty}.service")),
        stop=(),
        stopped=(_RELOAD,),
        undo=undo,
        note=f"it counts from the next login on; at once: systemctl restart serial-getty@{tty}",
    )


def _kiosk_unit(settings: Settings, tty: str, baud: int, getty: str, undo: str) -> str:
    virtual = _VIRTUAL.fullmatch(tty) is not None
    which = which_tpm(settings) or ("--simulate",)
    devices = () if "--simulate" in which else tpm_devices(settings)
    command = (*program(), "--kiosk", *which, "--state", KIOSK_STATE)
    stty = ("/bin/stty", "-F", f"/dev/{tty}", str(baud))
    lines = [
        f"# Written by tpmconsole; to undo: {undo}",
        "[Unit]",
        f"Description=tpmconsole for visitors on {tty}",
        f"After=systemd-user-sessions.service {getty}",
        f"Conflicts={getty}",
        "# However often it has to: it comes back.",
        "StartLimitIntervalSec=0",
        "# Ended by its keys or by systemctl: the terminal asks for a login again.",
        f"OnSuccess={getty}",
        "",
        "[Service]",
        # The speed is nobody's affair but getty's, which is not here.
        *([] if virtual else [f"ExecStartPre=+{quoted(stty)}"]),
        f"ExecStart={quoted(command)}",
        "Restart=always",
        "RestartSec=2",
        "RestartPreventExitStatus=0",
        "SuccessExitStatus=143",
        "TimeoutStopSec=10",
        f"User={KIOSK}",
        *(["SupplementaryGroups=tss"] if devices else []),
        f"StateDirectory={KIOSK}",
        "StateDirectoryMode=0700",
        f"Environment=TERM={'linux' if virtual else 'vt220'} LANG=C.UTF-8",
        f"TTYPath=/dev/{tty}",
        "TTYReset=yes",
        "TTYVHangup=yes",
        *(["TTYVTDisallocate=yes"] if virtual else []),
        "StandardInput=tty-force",
        "StandardOutput=tty",
        "StandardError=journal",
        *hardening((f"/dev/{tty}", *devices)),
        "# Its sessions talk to this board alone.",
        "IPAddressDeny=any",
        "IPAddressAllow=localhost",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def _check_tty(tty: str) -> None:
    if not _TTY.fullmatch(tty):
        raise usage_error(
            "No such terminal", f"'{tty[:40]}' is no name of one", "name it as tty1 or ttyS0"
        )
