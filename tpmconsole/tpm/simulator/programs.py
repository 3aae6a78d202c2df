"""The simulator's programs and libraries: whether they are installed, and how to call them."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

from tpmconsole.errors import ConsoleError, ExitCode, Remedy
from tpmconsole.system.environment import SEARCH_PATH

# With this, a distribution confines swtpm to the folders that virtual machines use.
SWTPM_PROFILE = Path("/etc/apparmor.d/usr.bin.swtpm")

_LOADER_CACHE = Path("/etc/ld.so.cache")
_LIBRARY_FOLDERS = ("/usr/local/lib", "/usr/lib64", "/usr/lib", "/lib64", "/lib")

_BUS_CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


def find_program(name: str, search_path: str = SEARCH_PATH) -> str:
    """The full path of one of the simulator's programs.

    Raises:
        ConsoleError: it is not installed; the remedy names the Debian package of the same name.
    """
    found = shutil.which(name, path=search_path)
    if found is None:
        raise cannot_start(f"{name} is not installed", f"install the Debian package {name}")
    return found


def tcti_available(name: str) -> bool:
    """Whether the TSS library for a kind of TCTI (``swtpm``, ``tabrmd`` …) is installed."""
    library = f"libtss2-tcti-{name}.so.0"
    try:
        if library.encode() + b"\0" in _LOADER_CACHE.read_bytes():
            return True
    except OSError:
        pass  # an image without ldconfig has no cache
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    for folder in _LIBRARY_FOLDERS:
        if Path(folder, multiarch, library).exists() or Path(folder, library).exists():
            return True
    import ctypes

    try:
        ctypes.CDLL(library)  # only the loader knows for certain, but this is the slowest way
    except OSError:
        return False
    return True


def require_tcti(name: str) -> None:
    """Check that a TCTI library is installed.

    Raises:
        ConsoleError: it is not installed; the remedy names the Debian package.
    """
    if not tcti_available(name):
        library = f"libtss2-tcti-{name}"
        raise cannot_start(f"{library} is not installed", f"install the Debian package {library}0")


def bus_configuration(address: Path) -> str:
    """The configuration of a bus for one user, independent of the system's (dbus-daemon(1))."""
    return _BUS_CONFIGURATION.format(socket=address)


def bus_arguments(configuration: Path) -> list[str]:
    """The arguments of dbus-daemon."""
    return [f"--config-file={configuration}", "--nofork", "--nopidfile"]


def swtpm_arguments(tpm: Path, control: Path) -> list[str]:
    """The arguments of swtpm; the folder of its state is in TPM_PATH (swtpm(8)).

    ``--tpmstate dir=`` is not used, because a comma would end its path.
    """
    return [
        "socket",
        "--tpm2",
        # "disconnect" after each command, as its TCTI does; otherwise swtpm logs a line for each.
        f"--server=type=unixio,path={tpm},disconnect",
        f"--ctrl=type=unixio,path={control}",
        "--flags=not-need-init,startup-clear",
    ]


def abrmd_arguments(tpm: Path) -> list[str]:
    """The arguments of tpm2-abrmd (tpm2-abrmd(8))."""
    return [
        f"--tcti=swtpm:path={tpm}",
        "--session",
        "--allow-root",
        # Objects that a killed broker left loaded would fill the TPM's three slots.
        "--flush-all",
        # The default is 27, and each session and worker takes one or more.
        "--max-connections=100",
    ]


def advice(name: str, folder: Path, log: Path) -> str:
    """What to do if a program ended right after its start."""
    if name == "swtpm" and SWTPM_PROFILE.exists():
        local = SWTPM_PROFILE.parent / "local" / SWTPM_PROFILE.name
        return (
            f"read {log}; if AppArmor denies it the folder, "
            f"add `owner {folder}/** rwk,` to {local} and run `apparmor_parser -r {SWTPM_PROFILE}`"
        )
    return f"read {log}"


def cannot_start(cause: str, remedy: Remedy) -> ConsoleError:
    """The simulator cannot be used."""
    return ConsoleError("Simulator cannot start", cause, remedy, ExitCode.NO_TPM)
