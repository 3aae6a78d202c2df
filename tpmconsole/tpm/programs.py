"""Whether the programs and libraries of the simulator are installed, and which package has them."""

from __future__ import annotations

import ctypes
import shutil
import sysconfig
from pathlib import Path

from tpmconsole.errors import ConsoleError, ExitCode

# Not the user's: daemons live in the sbin folders, which a plain user's PATH leaves out.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_LOADER_CACHE = Path("/etc/ld.so.cache")
_LIBRARY_FOLDERS = ("/usr/local/lib", "/usr/lib64", "/usr/lib", "/lib64", "/lib")


def find_program(name: str, *, search_path: str = SEARCH_PATH) -> str:
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
    try:
        ctypes.CDLL(library)  # the loader has the last word, but loading it takes longest
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


def cannot_start(cause: str, remedy: str) -> ConsoleError:
    """The simulator is not to be had."""
    return ConsoleError("Simulator cannot start", cause, remedy, ExitCode.NO_TPM)
