"""The doctor: what is wrong with this board, and what to do about it.

The probes run in the order in which a technician would ask. Each is a function that returns what it
found; the runner gives it a deadline, catches whatever goes wrong in it, and skips it if a probe
that it needs has failed. So a probe that breaks or hangs never stops the others.
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
    """Run every probe; each finding is yielded as soon as it is known. Never raises.

    Args:
        board: the board to examine.
        servers: HOST and port of servers to reach.
        around: the board's files and variables, if not the real ones.
        probes: the probes to run; by default all.
    """
    if probes is None:
        from tpmconsole.board.doctor.probes import PROBES

        probes = PROBES
    return runner.examine(board, servers=servers, around=around, probes=probes)
