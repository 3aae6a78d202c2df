"""One ESAPI context: opened when first needed, given up when the way to the TPM breaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tpm2_pytss import ESAPI, TPM2_SU, TSS2_Exception

from tpmconsole.tpm.responses import BUSY, Code, base, explain, is_from_tpm, is_transport

Answer = TypeVar("Answer")

# Seconds between tries while the TPM says "later"; together well below a reading's deadline.
PAUSES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Context:
    """The TPM behind one TCTI.

    Args:
        tcti: always explicit; with none, the TSS takes any simulator on localhost for a TPM.
    """

    def __init__(self, tcti: str) -> None:
        self.tcti = tcti
        self._esapi: ESAPI | None = None

    @property
    def esapi(self) -> ESAPI:
        """The open context.

        Raises:
            TSS2_Exception: it cannot be opened.
        """
        if self._esapi is None:
            self._esapi = ESAPI(self.tcti)
        return self._esapi

    def run(self, work: Callable[[ESAPI], Answer]) -> Answer:
        """Do some work with the TPM, again where it is only busy or has not been started.

        Args:
            work: may run several times; flushes what it loads, whatever happens.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses.
        """
        pauses = iter(PAUSES)
        while True:
            try:
                return work(self.esapi)
            except TSS2_Exception as error:
                rc = int(error.rc)
                pause = next(pauses, None)
                if pause is None or not self._again(rc, pause):
                    raise explain(rc, str(error)) from error

    def _again(self, rc: int, pause: float) -> bool:
        """Get ready for another try; False where there is no use in one."""
        if is_transport(rc):
            # After one such error this context answers 0x70007 for ever.
            self.close()
            return False
        if not is_from_tpm(rc):
            return False
        if base(rc) == Code.INITIALIZE:
            self.esapi.startup(TPM2_SU.CLEAR)
            return True
        if base(rc) in BUSY:
            time.sleep(pause)
            return True
        return False

    def close(self) -> None:
        """Give the context up; the next use opens another."""
        if self._esapi is not None:
            self._esapi.close()
            self._esapi = None
