"""The doctor: what is wrong with this board, and what to do about it.

Probes in the order in which a technician would ask. Each is a function that says what it saw; the
runner gives it a deadline, catches whatever goes wrong in it, and skips it where one that it needs
has failed. So no probe can fail itself, and none can keep the others from being heard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tpmconsole.board.doctor import runner
from tpmconsole.board.doctor.examination import Surroundings
from tpmconsole.finding import Finding, worst

if TYPE_CHECKING:
    from tpmconsole.board import Board

__all__ = ["Finding", "Surroundings", "examine", "worst"]


def examine(
    board: Board,
    *,
    servers: Sequence[tuple[str, int]] = (),
    around: Surroundings | None = None,
    probes: Sequence[runner.Probe] | None = None,
) -> Iterator[Finding]:
    """Ask every question; findings come as soon as they are there. Never raises.

    Args:
        board: the board to examine.
        servers: HOST and port of servers to reach.
        around: the board's files and variables, where not the real ones.
        probes: other questions than all of them.
    """
    if probes is None:
        from tpmconsole.board.doctor.probes import PROBES

        probes = PROBES
    return runner.examine(board, servers=servers, around=around, probes=probes)
