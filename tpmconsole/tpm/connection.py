"""Which TPM: the one that was asked for, or the first that can be opened."""

from __future__ import annotations

from tpmconsole.errors import no_tpm
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Connection
from tpmconsole.tpm.simulator import Simulator


def is_simulator_tcti(tcti: str) -> bool:
    """Whether a TCTI can only lead to a simulated TPM."""
    return tcti.partition(":")[0] in ("swtpm", "mssim")


def choose(settings: Settings) -> Connection:
    """Choose the TPM.

    Raises:
        ConsoleError: none can be reached.
    """
    if settings.simulate:
        return Simulator(settings.simulator).ensure()
    if settings.tcti:
        return Connection(settings.tcti, settings.tcti_source, is_simulator_tcti(settings.tcti))
    raise no_tpm("no TPM was found", "use --simulate for a simulated TPM")
