"""One ESAPI context: opened when first needed, given up when the way to the TPM breaks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tpm2_pytss import ESAPI, TPM2_SU, TSS2_Exception

from tpmconsole.tpm.responses import BUSY, Code, base, explain, is_from_tpm, is_transport
from tpmconsole.tpm.worker.jobs.auth_values import wipe
from tpmconsole.tpm.worker.jobs.channel import Channel

Answer = TypeVar("Answer")

# Seconds between tries while the TPM says "later"; then again and again the last.
PAUSES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Context:
    """The TPM behind one TCTI.

    Args:
        tcti: always explicit; with none, the TSS takes any simulator on localhost for a TPM.
        answered: called each time the TPM has answered a command.
        held: what another process had loaded when it was ended, by handle; see ``Channel``.

    Attributes:
        patience_s: how long a TPM that only says "later" is asked again.
        held: what is loaded now.
        constant: what jobs remember of this TPM: it cannot change while the connection lasts.
    """

    def __init__(
        self,
        tcti: str,
        answered: Callable[[], None] = lambda: None,
        held: Mapping[int, str] | None = None,
    ) -> None:
        self.tcti = tcti
        self.patience_s = 2.0
        self.held = dict(held or {})
        self.constant: dict[str, Any] = {}
        self._answered = answered
        self._esapi: ESAPI | None = None
        self._channel: Channel | None = None

    @property
    def esapi(self) -> ESAPI:
        """The open context, as a ``Channel``.

        Raises:
            TSS2_Exception: it cannot be opened.
        """
        if self._esapi is None:
            self._esapi = ESAPI(self.tcti)
        if self._channel is None:
            self._channel = Channel(self._esapi, self.held, self._answered)
        return self._channel

    def run(self, work: Callable[[ESAPI], Answer]) -> Answer:
        """Do some work with the TPM, again where it is only busy or has not been started.

        Args:
            work: may run several times; flushes what it loads, whatever happens.

        Raises:
            ConsoleError: the TPM cannot be reached or refuses.
        """
        until = time.monotonic() + self.patience_s
        pauses = itertools.chain(PAUSES, itertools.repeat(PAUSES[-1]))
        started = True
        while True:
            try:
                if not started:
                    self.esapi.startup(TPM2_SU.CLEAR)
                return work(self.esapi)
            except TSS2_Exception as error:
                rc, pause = int(error.rc), next(pauses)
                if is_transport(rc):
                    # After one such error this context answers 0x70007 for ever.
                    self.close()
                if time.monotonic() + pause > until or not _passes(rc):
                    raise explain(rc, str(error)) from error
                started = base(rc) != Code.INITIALIZE
            time.sleep(pause)
            self._answered()

    def wipe(self) -> None:
        """Leave none of a job's secrets in what the TSS keeps."""
        if self._channel is not None:
            wipe(self._channel)

    def close(self) -> None:
        """Give the context up; the next use opens another."""
        if self._esapi is not None:
            self.wipe()
            self._esapi.close()
            self._esapi = self._channel = None
            self.constant.clear()


def _passes(rc: int) -> bool:
    """Whether a TPM that answers so may answer differently a little later."""
    return is_from_tpm(rc) and (base(rc) == Code.INITIALIZE or base(rc) in BUSY)
