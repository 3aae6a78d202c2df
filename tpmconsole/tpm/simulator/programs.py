"""The simulator's programs and libraries: are they installed, and how are they called."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

from tpmconsole.errors import ConsoleError, ExitCode, Remedy
from tpmconsole.system.environment import SEARCH_PATH

# Where a distribution confines swtpm to the folders that virtual machines use.
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
    """Full path of a program of the simulator.

    Raises:
        ConsoleError: it is not installed; the remedy names the Debian package, which has its name.
    """
    found = shutil.which(name, path=search_path)
    if found is None:
        raise cannot_start(f"{name} is not installed", f"install the Debian package {name}")
    return found


def tcti_available(name: str) -> bool:
    """Whether the TSS library that serves a kind of TCTI (``swtpm``, ``tabrmd`` …) is installed."""
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
        ctypes.CDLL(library)  # the loader has the last word, but asking it takes longest
    except OSError:
        return False
    return True


def require_tcti(name: str) -> None:
    """Insist on a TCTI library.

    Raises:
        ConsoleError: it is not installed; the remedy names the Debian package.
    """
    if not tcti_available(name):
        library = f"libtss2-tcti-{name}"
        raise cannot_start(f"{library} is not installed", f"install the Debian package {library}0")


def bus_configuration(address: Path) -> str:
    """A message bus for one user, independent of what the system configures (dbus-daemon(1))."""
    return _BUS_CONFIGURATION.format(socket=address)


def bus_arguments(configuration: Path) -> list[str]:
    """How dbus-daemon is called."""
    return [f"--config-file={configuration}", "--nofork", "--nopidfile"]


def swtpm_arguments(tpm: Path, control: Path) -> list[str]:
    """How swtpm is called; the folder of its state comes by TPM_PATH (swtpm(8)).

    Not by ``--tpmstate dir=``: there a comma would end the path.
    """
    return [
        "socket",
        "--tpm2",
        # "disconnect" after each command, as its TCTI does too; else it logs a line for each.
        f"--server=type=unixio,path={tpm},disconnect",
        f"--ctrl=type=unixio,path={control}",
        "--flags=not-need-init,startup-clear",
    ]


def abrmd_arguments(tpm: Path) -> list[str]:
    """How tpm2-abrmd is called (tpm2-abrmd(8))."""
    return [
        f"--tcti=swtpm:path={tpm}",
        "--session",
        "--allow-root",
        # What a broker that was killed had loaded would fill the TPM's three places.
        "--flush-all",
        # 27 by default, and each session and worker takes one or more.
        "--max-connections=100",
    ]


def advice(name: str, folder: Path, log: Path) -> str:
    """What to do where a program started and ended at once."""
    if name == "swtpm" and SWTPM_PROFILE.exists():
        local = SWTPM_PROFILE.parent / "local" / SWTPM_PROFILE.name
        return (
            f"read {log}; where AppArmor refuses it the folder, "
            f"add `owner {folder}/** rwk,` to {local} and run `apparmor_parser -r {SWTPM_PROFILE}`"
        )
    return f"read {log}"


def cannot_start(cause: str, remedy: Remedy) -> ConsoleError:
    """The simulator is not to be had."""
    return ConsoleError("Simulator cannot start", cause, remedy, ExitCode.NO_TPM)
