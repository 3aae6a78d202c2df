"""The versions of tpmconsole and its libraries."""

from __future__ import annotations

import platform
import ssl
from importlib.metadata import PackageNotFoundError, version

from tpmconsole import __version__

PACKAGES = ("textual", "tpm2-pytss", "cryptography", "psutil", "h11")


def versions() -> dict[str, str]:
    """By name: Python, the OpenSSL that signs handshakes, and the packages."""
    found = {"Python": platform.python_version(), "OpenSSL": ssl.OPENSSL_VERSION.split()[1]}
    return found | {name: package_version(name) or "unknown" for name in PACKAGES}


def package_version(name: str) -> str | None:
    """A package's version; None if it is missing, or present without its metadata."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def version_lines() -> list[str]:
    """What ``--version`` prints: our version on the first line, the others on the second."""
    return [
        f"tpmconsole {__version__}",
        ", ".join(f"{name} {number}" for name, number in versions().items()),
    ]
