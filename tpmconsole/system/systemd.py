"""Units of systemd: the text of a hardened one, and putting it where systemd finds it.

What a directive does stands in systemd.exec(5), systemd.service(5) and systemd.resource-control(5).
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

# For every unit of ours: no way to more rights, and nothing of the system to change or to look at.
# MemoryDenyWriteExecute is left out: it would forbid the callbacks of ctypes, which sign.
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
    """A service of systemd.

    Attributes:
        name: with its ending, such as ``tpmconsole-server-1.service``.
        unit: directives of the section ``[Unit]``, in their order; a name may come again.
        service: of ``[Service]``.
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
        unit: None where only others' units are changed.
        user: the user it runs as, made where there is none of that name; None for root.
        groups: which that user is to be in.
        notes: what whoever installs it should know.
        others: further files by their place, such as what is changed in another unit.
        wanted: the unit that is started, where it is not ``unit``.
        afterwards: commands that undo what the notes say to do.
        state: the user's one folder, where there is nothing else of its: both go with the unit.
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
        """What is written, by its place."""
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
        """The command that takes it away again; a user who may have other files stays."""
        first = [] if self.unit is None else [f"systemctl disable --now {self.unit.name}"]
        last = [] if self.state is None else [f"userdel {self.user}", f"rm -r {self.state}"]
        gone = [path for path in self.files() if last or path.parent != USERS]
        files = " ".join(map(str, gone))
        return "; ".join(
            [*first, f"rm {files}", "systemctl daemon-reload", *last, *self.afterwards]
        )


def command_line(words: Sequence[str | Path]) -> str:
    """A command as ``ExecStart=`` takes it: nothing in it is expanded (systemd.service(5))."""
    return " ".join(_quoted(str(word), command=True) for word in words)


def quoted(text: str | Path) -> str:
    """A path or an assignment as other directives take it, with nothing expanded."""
    return _quoted(str(text), command=False)


def literal(text: str | Path) -> str:
    """A text as directives take it that have one value and know no quotes."""
    if not str(text).isprintable():
        raise usage_error(
            "Not for systemd", f"{text!r} cannot stand in a unit", "use a path without such letters"
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
    """The file of sysusers.d(5) that makes a user without a password, a shell or a home."""
    lines = [f'u {user} - "tpmconsole"', *(f"m {user} {group}" for group in groups)]
    return "\n".join(lines) + "\n"


def install(installation: UnitFiles) -> list[Path]:
    """Write the unit, make its user, and let systemd know; nothing is started.

    Returns:
        The files that were written: those that were not there yet, word for word.

    Raises:
        ConsoleError: not root, no systemd here, or a file or the user cannot be made.
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
    # Where systemd is not running (an image that is being built), it reads the unit when it starts.
    if Path("/run/systemd/system").is_dir():
        _run(_program("systemctl"), "daemon-reload")
    return written


def _holds(path: Path, text: str) -> bool:
    try:
        return path.is_file() and path.read_bytes() == text.encode()
    except OSError:
        return False  # whatever that is, writing tells


def _check_root() -> None:
    if os.geteuid() != 0:
        raise ConsoleError(
            "Not permitted",
            f"only root may write into {UNITS}",
            NextStep(Action.DRY_RUN, text="run it with sudo, or look at what it would write: {}"),
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
                text="start it from this board's own init instead; {} shows the command",
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
        "look at the system's journal (journalctl -e), then try again",
    )


def after_device(tcti: str | None) -> list[tuple[str, str]]:
    """Directives of ``[Unit]`` that wait for the TPM's device, where a TCTI names one.

    What a unit may open is settled when it starts: a device that came later would stay shut.
    """
    found = _DEVICE.fullmatch((tcti or "").removeprefix("device:"))
    if found is None:
        return []
    return [(word, f"dev-{found[1]}.device") for word in ("Wants", "After")]


def allowed_device(path: str) -> tuple[str, str]:
    """The directive of ``[Service]`` that lets a unit open a device.

    A TPM whose driver comes back may have another number. All those behind the kernel's resource
    manager are one kind, ``tpm`` (/proc/devices), and udev decides who may open them.
    """
    found = _DEVICE.fullmatch(path)
    which = "char-tpm" if found and found[2] else quoted(path)
    return ("DeviceAllow", f"{which} rw")


def environment(variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """Directives that set environment variables."""
    return [("Environment", quoted(f"{name}={value}")) for name, value in variables.items()]


def reachable_by_others(path: Path) -> bool:
    """Whether a user without rights may read a file or enter a folder, and all folders above it."""
    path = path.resolve()
    return all(one.stat().st_mode & 0o001 for one in path.parents) and bool(
        path.stat().st_mode & 0o004
    )
