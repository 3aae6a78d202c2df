"""The doctor: what is wrong with this board, and what to do about it.

Probes in the order in which a technician would ask. Each is a function that says what it saw; the
runner gives it a deadline, catches whatever goes wrong in it, and skips it where one that it needs
has failed. So no probe can fail itself, and none can keep the others from being heard.
"""

from tpmconsole.board.doctor.finding import Finding, worst
from tpmconsole.board.doctor.runner import examine
from tpmconsole.board.doctor.surroundings import Surroundings

__all__ = ["Finding", "Surroundings", "examine", "worst"]
