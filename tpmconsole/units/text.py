"""The words of unit files that several units share: the program, its arguments, the hardening."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tpmconsole.settings import Settings

_HOMES = ("/home", "/root", "/run/user")

# systemd.exec(5). Not MemoryDenyWriteExecute: callbacks from C (ctypes) need such memory on some
# processors. Not PrivateDevices: a terminal and a TPM are devices; DeviceAllow names them. With
# seccomp, swtpm takes from itself what it does not need.
_HARDENING = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "UMask=0077",
    "PrivateTmp=yes",
    "ProtectSystem=strict",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "LockPersonality=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service seccomp",
    "SystemCallErrorNumber=EPERM",
)


def program() -> tuple[str, ...]:
    """How this very installation is started, by absolute paths."""
    beside = Path(sys.executable).with_name("tpmconsole")
    found = str(beside) if beside.is_file() else shutil.which("tpmconsole")
    return (found,) if found else (sys.executable, "-m", "tpmconsole")


def quoted(words: Iterable[str]) -> str:
    """A command line as ExecStart= reads it (systemd.service(5), COMMAND LINES)."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = escaped == word and word and not set(word) & set(" \t\n';")
    return word if plain else f'"{escaped}"'


def which_tpm(settings: Settings) -> tuple[str, ...]:
    """The options that choose the same TPM as the command that installs the unit."""
    if settings.simulate:
        return ("--simulate",)
    return ("--tcti", settings.tcti) if settings.tcti else ()


def tpm_devices(settings: Settings) -> tuple[str, ...]:
    """The devices that the TCTI names; those it may find where it names none."""
    if settings.simulate:
        return ()
    name, _, path = (settings.tcti or "device:").partition(":")
    if name != "device":
        return ()
    return (path,) if path else ("/dev/tpmrm0", "/dev/tpm0")


def hardening(devices: Iterable[str] = ()) -> list[str]:
    """What takes from a service all that it does not need.

    Args:
        devices: those it may open, besides such as /dev/null.
    """
    homes = [home for home in _HOMES if _in_use(home)]
    # A program in somebody's home could not even be started where homes are hidden.
    lines = [*_HARDENING, f"ProtectHome={'read-only' if homes else 'yes'}", "DevicePolicy=closed"]
    return [*lines, *(f"DeviceAllow={device} rw" for device in devices)]


def _in_use(home: str) -> bool:
    places = {sys.prefix, sys.base_prefix, os.fspath(Path(__file__).parent), *program()}
    return any(place.startswith(f"{home}/") for place in places)
