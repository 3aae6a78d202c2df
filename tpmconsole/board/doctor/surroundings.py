"""Where the probes look: the board's own files and environment, or a test's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tpmconsole.system.environment import given_environment
from tpmconsole.tpm.tcti import Places

LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The board as a probe sees it.

    Attributes:
        root: what every path is below.
        environment: the variables that this process was given.
        openssl_directory: OpenSSL's, where its configuration is; that of Python's ``ssl`` where
            None.
    """

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=given_environment)
    openssl_directory: Path | None = None

    def at(self, path: str) -> Path:
        """An absolute path, below the root."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str | None:
        """What a small file of the kernel says, without the final newline; None for nothing."""
        return read_text(self.at(path))

    @property
    def places(self) -> Places:
        """Where a TPM is looked for."""
        return Places(
            managed=self.at("/dev/tpmrm0"),
            raw=self.at("/dev/tpm0"),
            system_bus=self.at("/run/dbus/system_bus_socket"),
            devices=self.at("/sys/dev/char"),
        )


def read_text(path: Path) -> str | None:
    """The beginning of a file of the kernel; None where there is none that we may read."""
    try:
        with path.open("rb") as file:
            # The device tree ends its strings with a NUL.
            return file.read(LONGEST).decode("utf-8", "replace").strip("\0\n ")
    except OSError:
        return None
