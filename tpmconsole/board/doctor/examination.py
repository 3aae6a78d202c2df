"""One examination: its board, the files it looks at, and what its probes have learned so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.system.environment import given_environment
from tpmconsole.tpm.tcti import Places

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.session.tls.provider import Module
    from tpmconsole.tpm.model import Connection, TpmHealth


LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The board as a probe sees it.

    Attributes:
        root: the folder that every path is below.
        environment: the variables that this process was given.
        openssl_directory: OpenSSL's folder with its configuration; None for that of Python's
            ``ssl``.
    """

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=given_environment)
    openssl_directory: Path | None = None

    def at(self, path: str) -> Path:
        """An absolute path, below the root."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str | None:
        """The content of a small kernel file, without the final newline; None if unreadable."""
        return read_text(self.at(path))

    @property
    def places(self) -> Places:
        """The places where a TPM may be."""
        return Places(
            managed=self.at("/dev/tpmrm0"),
            raw=self.at("/dev/tpm0"),
            system_bus=self.at("/run/dbus/system_bus_socket"),
            devices=self.at("/sys/dev/char"),
        )


def read_text(path: Path) -> str | None:
    """The beginning of a kernel file; None if it is missing or not readable."""
    try:
        with path.open("rb") as file:
            # The device tree ends its strings with a NUL.
            return file.read(LONGEST).decode("utf-8", "replace").strip("\0\n ")
    except OSError:
        return None


@dataclass(slots=True)
class Examination:
    """What every probe is given.

    Attributes:
        board: the board to examine.
        around: the files and variables to look at.
        servers: HOST and port of the servers to reach.
        unreached: the servers that an earlier probe could not reach.
        connection, health, module: what an earlier probe has learned; None if it did not.
    """

    board: Board
    around: Surroundings = field(default_factory=Surroundings)
    servers: tuple[tuple[str, int], ...] = ()
    unreached: set[str] = field(default_factory=set)
    connection: Connection | None = None
    health: TpmHealth | None = None
    module: Module | None = None

    @property
    def without_kernel(self) -> bool:
        """Whether the chosen TPM is not behind the kernel's driver, such as a simulated one."""
        settings = self.board.settings
        asked = settings.tcti or ""
        return settings.simulate or bool(asked and asked.split(":")[0] not in ("device", "tabrmd"))
