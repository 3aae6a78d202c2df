"""One examination: what it is of, and what the probes have learnt so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tpmconsole.board.doctor.surroundings import Surroundings

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.session.tls.provider import Module
    from tpmconsole.tpm.model import Connection, TpmHealth


@dataclass(slots=True)
class Examination:
    """What every probe gets.

    Attributes:
        board: who is examined.
        around: the files and variables to look at.
        servers: HOST and port of those that shall be reached.
        unreached: those that an earlier probe could not reach.
        connection, health, module: what an earlier probe has learnt; None where it has not.
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
        """Whether the TPM that was asked for is none of the kernel's, such as a simulated one."""
        settings = self.board.settings
        asked = settings.tcti or ""
        return settings.simulate or bool(asked and asked.split(":")[0] not in ("device", "tabrmd"))
