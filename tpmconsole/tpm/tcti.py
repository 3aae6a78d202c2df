"""Choose the TPM: the one that was requested, or the first of the usual ones that can be opened.

The TSS is never left to choose: without a TCTI it falls back to any emulator on localhost, and it
reports the same code for a device that is absent and one that this user cannot open.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from tpmconsole.errors import Action, ConsoleError, NextStep, no_tpm, usage_error
from tpmconsole.settings import Settings
from tpmconsole.system.environment import BUSES
from tpmconsole.tpm.model import Connection

# These can only reach a simulated TPM.
_SIMULATOR_TCTIS = ("swtpm", "mssim", "libtpms")
# The TSS's own and its vendors'; for any other name its loader would search for a library.
KNOWN_TCTIS = (
    "device",
    "tabrmd",
    *_SIMULATOR_TCTIS,
    "cmd",
    "pcap",
    "spi-helper",
    "spi-ltt2go",
    "spi-ftdi",
    "i2c-helper",
    "i2c-ftdi",
)
_EXAMPLES = "device:/dev/tpmrm0, tabrmd:bus_type=system or swtpm:host=localhost,port=2321"
_SIMULATE = NextStep(Action.USE_SIMULATOR)


def _or_simulate(remedy: str) -> NextStep:
    return f"{remedy}, or " + _SIMULATE


_BUS_ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look for a TPM.

    Attributes:
        managed: the device behind the kernel's resource manager.
        raw: the device itself, for one program at a time.
        system_bus: the socket of the message bus that tpm2-abrmd uses.
        devices: the sysfs folder that maps device numbers to drivers.
    """

    managed: Path = Path("/dev/tpmrm0")
    raw: Path = Path("/dev/tpm0")
    system_bus: Path = Path("/run/dbus/system_bus_socket")
    devices: Path = Path("/sys/dev/char")

    def device(self, path: Path) -> Path:
        """``managed`` or ``raw``; if absent, the first device of the same kind with any number.

        After its driver was rebound, a chip has the next number for as long as a program keeps
        the previous device open.
        """
        if path.exists():
            return path
        kind = path.name.rstrip("0123456789")
        others = (
            one for one in path.parent.glob(f"{kind}[0-9]*") if one.name[len(kind) :].isdigit()
        )
        return min(others, key=lambda one: int(one.name[len(kind) :]), default=path)


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a TPM cannot be used, and how to correct that, if known."""

    cause: str
    remedy: str | None = None


def choose(settings: Settings, places: Places | None = None) -> Connection:
    """Choose the simulator or the TCTI, if the settings name one; otherwise the first TPM found.

    Args:
        places: where to look; the board's usual places by default.

    Raises:
        ConsoleError: no TPM was found (the cause lists each place and its reason), the requested
            device cannot be used, the TCTI is unknown, or the simulator cannot start.
    """
    if settings.simulate:
        from tpmconsole.tpm.simulator import Simulator

        return Simulator(settings.simulator).ensure()
    places = places or Places()
    if settings.tcti is not None:
        return _asked(settings.tcti, settings.tcti_source or "the settings", places)
    return _found(places)


def still_there(connection: Connection, places: Places | None = None) -> Connection:
    """Update an earlier connection: its device may have another number by now."""
    name, _, path = connection.tcti.partition(":")
    if name != "device" or not path:
        return connection
    found = (places or Places()).device(Path(path))
    return replace(connection, tcti=f"device:{found}")


def is_simulator_tcti(tcti: str) -> bool:
    """Whether a TCTI can only reach a simulated TPM."""
    name, _, rest = tcti.partition(":")
    return is_simulator_tcti(rest) if name == "pcap" else name in _SIMULATOR_TCTIS


def is_managed(tcti: str) -> bool:
    """Whether a resource manager flushes what a process leaves in the TPM when it ends."""
    return "tabrmd" in tcti.split(":")[:2] or "/dev/tpmrm" in tcti


def _asked(tcti: str, source: str, places: Places) -> Connection:
    tcti = _completed(tcti.strip(), source, places)
    _check_named_device(tcti, source, places)
    environment = {name: os.environ[name] for name in BUSES if name in os.environ}
    return Connection(
        tcti=tcti,
        why=source,
        simulated=is_simulator_tcti(tcti),
        environment=environment if "tabrmd" in tcti.split(":")[:2] else {},
    )


def _completed(tcti: str, source: str, places: Places) -> str:
    """Complete a TCTI so that the TSS has nothing left to choose.

    Raises:
        ConsoleError: it does not name a TCTI, or ``pcap:`` is not followed by one.
    """
    name, _, rest = tcti.partition(":")
    if name not in KNOWN_TCTIS or not tcti.isprintable():
        raise usage_error(
            "Unknown TCTI",
            f"{tcti!r} from {source} does not begin with a known TCTI",
            f"use one such as {_EXAMPLES}; known TCTIs: {', '.join(KNOWN_TCTIS)}",
        )
    if name == "pcap":
        return f"pcap:{_completed(rest, source, places)}"
    if name == "device" and not rest:
        there = [places.device(path) for path in (places.managed, places.raw)]
        usable = [path for path in there if not device_trouble(path, places)]
        return f"device:{(usable or [places.managed])[0]}"
    return tcti


def _check_named_device(tcti: str, source: str, places: Places) -> None:
    name, _, rest = tcti.partition(":")
    if name == "pcap":
        _check_named_device(rest, source, places)
    if name != "device":
        return
    trouble = device_trouble(Path(rest), places)
    if trouble:
        remedy = trouble.remedy or f"name another device, omit {source} to search for one"
        raise no_tpm(f"{trouble.cause} (from {source})", _or_simulate(remedy))


def _found(places: Places) -> Connection:
    tried: list[Unusable] = []
    for path in (places.device(places.managed), None, places.device(places.raw)):
        trouble = device_trouble(path, places) if path else abrmd_trouble(places.system_bus)
        if trouble is None:
            found = (
                Connection(f"device:{path}", f"{path} is there")
                if path
                else Connection("tabrmd:bus_type=system", "tpm2-abrmd is on the system bus")
            )
            return _with_reasons(found, tried)
        tried.append(trouble)
    raise _nothing(tried)


def _with_reasons(found: Connection, tried: list[Unusable]) -> Connection:
    reasons = [found.why, *(trouble.cause for trouble in tried)]
    return replace(found, why="; ".join(reasons))


def _nothing(tried: list[Unusable]) -> ConsoleError:
    remedies = [trouble.remedy for trouble in tried if trouble.remedy]
    first = remedies[0] if remedies else "enable the TPM in the firmware, or load its driver"
    return no_tpm("; ".join(trouble.cause for trouble in tried), _or_simulate(first))


def device_trouble(path: Path, places: Places) -> Unusable | None:
    """Why a device cannot be used; None if it can."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return Unusable(f"{path}: not there")
    except OSError as error:
        return Unusable(f"{path}: {error.strerror}")
    if not stat.S_ISCHR(status.st_mode):
        return Unusable(f"{path}: it is {_kind(status.st_mode)}, not a device")
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    driver = (places.devices / number / "subsystem").resolve().name
    # A TPM has the class tpm or tpmrm; if sysfs does not name a class, the path decides.
    if (places.devices / number).exists() and driver not in ("tpm", "tpmrm"):
        return Unusable(f"{path}: it is a device, but not a TPM")
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return _not_allowed(path, status)
    return None


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a disk"),
    )
    return next((name for test, name in kinds if test(mode)), "a file")


def _not_allowed(path: Path, status: os.stat_result) -> Unusable:
    """A device that this user cannot open, and which users can."""
    import grp

    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    # Never advise a user to join the group root.
    if status.st_gid != 0 and status.st_mode & 0o060 == 0o060:
        return Unusable(f"{path}: no permission, only its group {group} may open it", _join(group))
    return Unusable(
        f"{path}: no permission, only its owner may open it",
        f"run as root, or add a udev rule that gives {path} to group tss with mode 0660",
    )


def abrmd_trouble(address: Path) -> Unusable | None:
    """Why the system's tpm2-abrmd cannot be used; None if it answers us on the bus."""
    if not address.is_socket():
        return Unusable("tpm2-abrmd: there is no system bus")
    from tpmconsole.system.dbus import TABRMD_NAME, Presence, ask

    try:
        presence = ask(address, TABRMD_NAME, timeout_s=_BUS_ANSWER_S)
    except OSError as error:
        return Unusable(f"tpm2-abrmd: the system bus does not answer ({error.strerror or error})")
    if presence is Presence.DENIED:
        return Unusable("tpm2-abrmd: no permission, only its group tss may use it", _join("tss"))
    return None if presence is Presence.ANSWERS else Unusable("tpm2-abrmd: not running")


def _join(group: str) -> str:
    import pwd

    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return f"run `sudo usermod -aG {group} {user}` and log in again"
