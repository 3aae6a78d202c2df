"""systemd units: writes hardened ones and installs them where systemd finds them.

For the directives, see systemd.exec(5), systemd.service(5) and systemd.resource-control(5).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep, Remedy, usage_error
from tpmconsole.system.files import PUBLIC_FILE, write_atomic

UNITS = Path("/etc/systemd/system")
USERS = Path("/etc/sysusers.d")
TSS_GROUP = "tss"  # the group that Debian's udev rules give /dev/tpmrm0 to
_COMMAND_S = 30.0

# For each of our units: it cannot gain more rights, nor change the system or look into it.
# MemoryDenyWriteExecute is left out: it would forbid ctypes callbacks, with which we sign.
HARDENED = (
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("PrivateTmp", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectProc", "invisible"),
    ("LockPersonality", "yes"),
    ("RemoveIPC", "yes"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("UMask", "0077"),
)

_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_DEVICE = re.compile(r"/dev/(tpm(rm)?[0-9]+)")


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd service.

    Attributes:
        name: with its suffix, such as ``tpmconsole-server-1.service``.
        unit: the directives of the ``[Unit]`` section, in order; a name may be repeated.
        service: those of ``[Service]``.
        wanted_by: the target that starts it at boot.
    """

    name: str
    unit: tuple[tuple[str, str], ...]
    service: tuple[tuple[str, str], ...]
    wanted_by: str = "multi-user.target"

    def text(self) -> str:
        """The unit file."""
        sections = (
            ("Unit", self.unit),
            ("Service", self.service),
            ("Install", (("WantedBy", self.wanted_by),)),
        )
        return "\n".join(
            f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in directives)
            for name, directives in sections
        )


@dataclass(frozen=True, slots=True)
class UnitFiles:
    """A unit and what belongs to it.

    Attributes:
        unit: None if only existing units are changed.
        user: the user it runs as, created if it does not exist; None for root.
        groups: the groups that the user must be in.
        notes: what the user who installs it should know.
        others: further files by path, such as a change to another unit.
        wanted: the unit to start, if it is not ``unit``.
        afterwards: commands that undo what the notes say to do.
        state: the user's one folder, if it owns nothing else: both are removed with the unit.
    """

    unit: Unit | None
    user: str | None = None
    groups: tuple[str, ...] = ()
    notes: tuple[Remedy, ...] = field(default=())
    others: Mapping[Path, str] = field(default_factory=dict)
    wanted: str = ""
    afterwards: tuple[str, ...] = ()
    state: Path | None = None

    def files(self) -> dict[Path, str]:
        """The files to write, by path."""
        files = {} if self.unit is None else {UNITS / self.unit.name: self.unit.text()}
        if self.user is not None:
            files[USERS / f"{self.user}.conf"] = _sysusers(self.user, self.groups)
        return files | dict(self.others)

    @property
    def start(self) -> str:
        """The command that starts it, now and at every boot."""
        return f"systemctl enable --now {self.wanted if self.unit is None else self.unit.name}"

    @property
    def undo(self) -> str:
        """The command that removes it again; a user who may own other files is kept."""
        first = [] if self.unit is None else [f"systemctl disable --now {self.unit.name}"]
        last = [] if self.state is None else [f"userdel {self.user}", f"rm -r {self.state}"]
        gone = [path for path in self.files() if last or path.parent != USERS]
        files = " ".join(map(str, gone))
        return "; ".join(
            [*first, f"rm {files}", "systemctl daemon-reload", *last, *self.afterwards]
        )


def command_line(words: Sequence[str | Path]) -> str:
    """A command for ``ExecStart=``, with nothing in it expanded (systemd.service(5))."""
    return " ".join(_quoted(str(word), command=True) for word in words)


def quoted(text: str | Path) -> str:
    """A path or an assignment for other directives, with nothing in it expanded."""
    return _quoted(str(text), command=False)


def literal(text: str | Path) -> str:
    """A text for directives that take one value and no quotes."""
    if not str(text).isprintable():
        raise usage_error(
            "Not for systemd",
            f"{text!r} is not allowed in a unit",
            "use a path without control characters",
        )
    return str(text).replace("%", "%%")


def _quoted(text: str, *, command: bool) -> str:
    text = literal(text)
    if command:
        text = text.replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _sysusers(user: str, groups: Sequence[str]) -> str:
    """A sysusers.d(5) file that creates a user without a password, a shell or a home."""
    lines = [f'u {user} - "tpmconsole"', *(f"m {user} {group}" for group in groups)]
    return "\n".join(lines) + "\n"


def install(installation: UnitFiles) -> list[Path]:
    """Write the unit, create its user and notify systemd; nothing is started.

    Returns:
        The files that were written; those that had exactly this content already are left out.

    Raises:
        ConsoleError: not root, no systemd here, or a file or the user cannot be created.
    """
    _check_root()
    _program("systemctl")
    files = installation.files()
    written = [path for path, text in files.items() if not _holds(path, text)]
    for path in written:
        text = files[path]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode(), PUBLIC_FILE)
    if installation.user is not None:
        _run(_program("systemd-sysusers"), str(USERS / f"{installation.user}.conf"))
    # If systemd is not running (an image is being built), it reads the unit when it starts.
    if Path("/run/systemd/system").is_dir():
        _run(_program("systemctl"), "daemon-reload")
    return written


def _holds(path: Path, text: str) -> bool:
    try:
        return path.is_file() and path.read_bytes() == text.encode()
    except OSError:
        return False  # writing it will report what is wrong


def _check_root() -> None:
    if os.geteuid() != 0:
        raise ConsoleError(
            "Not permitted",
            f"only root may write into {UNITS}",
            NextStep(Action.DRY_RUN, text="run it with sudo, or see what it would write: {}"),
            ExitCode.NO,
        )


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConsoleError(
            "No systemd",
            f"{name} is not installed",
            NextStep(
                Action.DRY_RUN,
                text="start it from this board's own init system; {} shows the command",
            ),
        )
    return found


def _run(*command: str) -> None:
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_COMMAND_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["it does not say why"])[-1]
        raise _failed(command, last) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(command, str(error)) from error


def _failed(command: Sequence[str], why: str) -> ConsoleError:
    return ConsoleError(
        "Not installed",
        f"{' '.join(command)}: {why[:200]}",
        "check the system's journal (journalctl -e), then try again",
    )


def after_device(tcti: str | None) -> list[tuple[str, str]]:
    """``[Unit]`` directives that wait for the TPM's device, if the TCTI names one.

    What a unit may open is fixed when it starts: it could not open a device that appears later.
    """
    found = _DEVICE.fullmatch((tcti or "").removeprefix("device:"))
    if found is None:
        return []
    return [(word, f"dev-{found[1]}.device") for word in ("Wants", "After")]


def allowed_device(path: str) -> tuple[str, str]:
    """The ``[Service]`` directive that lets a unit open a device.

    A TPM whose driver is reloaded may get another number. All devices behind the kernel's resource
    manager have one type, ``tpm`` (/proc/devices), and udev decides who may open them.
    """
    found = _DEVICE.fullmatch(path)
    which = "char-tpm" if found and found[2] else quoted(path)
    return ("DeviceAllow", f"{which} rw")


def environment(variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """Directives that set environment variables."""
    return [("Environment", quoted(f"{name}={value}")) for name, value in variables.items()]


def reachable_by_others(path: Path) -> bool:
    """Whether an unprivileged user may read a file, or enter a folder, and all folders above it."""
    path = path.resolve()
    return all(one.stat().st_mode & 0o001 for one in path.parents) and bool(
        path.stat().st_mode & 0o004
    )
