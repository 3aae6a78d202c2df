"""One ESAPI context: opened when first needed, closed when the connection to the TPM breaks.

``Channel`` is the TSS as the jobs see it: it reports that the TPM still answers, and records which
objects it has loaded.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tpm2_pytss import ESAPI, ESYS_TR, TPM2_SU, TSS2_Exception

from tpmconsole.tpm.response_texts import RSP_AUTH_FAILED
from tpmconsole.tpm.responses import BUSY, Code, base, explain, is_from_tpm, is_transport
from tpmconsole.tpm.worker.jobs import salted
from tpmconsole.tpm.worker.jobs.hmac_session import HEADER, Entity

LOG = logging.getLogger(__name__)
Answer = TypeVar("Answer")


@dataclass
class StorageKey:
    """What is known about the TPM's storage key.

    Attributes:
        name: its Name, hexadecimal; empty until the key is first seen.
    """

    name: str = ""


# Objects that jobs have loaded in the TPM: the Name (Part 1, 16) by the handle.
Held = dict[int, str]
_SENDS = 5  # as many as the TSS: a TPM that counts attempts says "later" first
_ENTITIES = 16  # the most to remember; those no longer in the TPM are useless
_SESSION = "session"  # instead of a Name: sessions have no Name
_FLUSH = HEADER.pack(0x8001, HEADER.size + 4, 0x165)  # TPM2_FlushContext
# Seconds between retries while the TPM says "later"; the last one repeats.
PAUSES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Channel:
    """An ESAPI context; attributes not defined here are those of the TSS.

    Args:
        esapi: an open context that works.
        held: objects loaded in earlier contexts that could not be flushed because the connection
            to the TPM broke; from now on it records what this context loads.
        storage: what is known about the TPM's storage key.
        answered: called after each command.

    Attributes:
        salted: the open session for passwords, if any.
    """

    def __init__(
        self, esapi: ESAPI, held: Held, storage: StorageKey, answered: Callable[[], None]
    ) -> None:
        self.storage = storage
        self.salted: salted.Salted | None = None
        self._entities: dict[int, Entity] = {}  # by the TSS's numbers, which it never reuses
        self._esapi = esapi
        self._held = held
        self._answered = answered
        self._flush_abandoned()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._esapi, name)

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return method(*arguments, **named)
            finally:
                self._answered()

        return call

    @property
    def context(self) -> Any:
        """The TSS's context, for functions that tpm2_pytss does not wrap."""
        return self._esapi._ctx

    def send(self, command: bytes) -> bytes:
        """Send a command as bytes, past the TSS.

        Raises:
            TSS2_Exception: the TPM's answer is an error, or the TPM did not answer.
        """
        code, response = 0, b""
        try:
            for _ in range(_SENDS):
                self._esapi.tcti.transmit(command)
                response = self._esapi.tcti.receive()
                if len(response) < HEADER.size:
                    raise TSS2_Exception(RSP_AUTH_FAILED)
                _, _, code = HEADER.unpack_from(response)
                if code != Code.RETRY:
                    break
        finally:
            self._answered()
        if code:
            raise TSS2_Exception(code)
        return response

    def hold_session(self, number: int) -> None:
        """Record a session that was just opened."""
        self._held[number] = _SESSION
        self._answered()

    def flush_session(self, number: int) -> None:
        """TPM2_FlushContext (Part 3, 28.4): its handle is a parameter."""
        self.send(_FLUSH + number.to_bytes(4, "big"))

    def hold(self, handle: ESYS_TR) -> None:
        """Record an object that was just loaded; sends no command."""
        entity = self.entity(handle)
        self._held[entity.handle] = entity.name.hex()
        self._answered()

    def entity(self, handle: ESYS_TR, name: bytes | None = None) -> Entity:
        """An object's handle and Name for building commands; sends no command.

        Args:
            name: its Name, if known: the TSS computes one each time, which takes as long as a
                signature by a simulated TPM.
        """
        number = int(handle)
        if number not in self._entities:
            if len(self._entities) >= _ENTITIES:
                self._entities.clear()
            name = name or bytes(self._esapi.tr_get_name(handle))
            self._entities[number] = Entity(int(self._esapi.tr_get_tpm_handle(handle)), name)
        return self._entities[number]

    def release(self, handle: ESYS_TR) -> None:
        """Flush an object from the TPM.

        Raises:
            TSS2_Exception: it could not be flushed.
        """
        number = int(self._esapi.tr_get_tpm_handle(handle))
        self.flush_context(handle)
        self._held.pop(number, None)

    def forget(self, number: int) -> None:
        """Drop the record of an object that the TPM no longer has."""
        self._held.pop(number, None)

    def _flush_abandoned(self) -> None:
        """Flush what broken connections left loaded, and nothing else.

        If a resource manager has done so already, the handle is empty. Without one, the handle
        may by now hold another program's object, which has a different Name.
        """
        for number, name in list(self._held.items()):
            try:
                if name == _SESSION:  # a session does not show its owner
                    self.flush_session(number)
                else:
                    found = self._esapi.tr_from_tpmpublic(number)
                    ours = bytes(self._esapi.tr_get_name(found)).hex() == name
                    (self._esapi.flush_context if ours else self._esapi.tr_close)(found)
            except TSS2_Exception as error:
                if is_transport(int(error.rc)):
                    raise
            del self._held[number]


class Context:
    """The TPM behind one TCTI.

    Args:
        tcti: always explicit; without one, the TSS accepts any simulator on localhost as a TPM.
        answered: called each time the TPM has answered a command.
        held: objects that a killed worker had loaded, by handle; see ``Channel``.
        storage_name: the Name of the TPM's storage key; empty if unknown.

    Attributes:
        patience_s: how long to retry while the TPM only says "later".
        held: the objects that are loaded now.
        storage: what is known about this TPM's storage key.
        constant: facts about this TPM that cannot change while the connection lasts.
    """

    def __init__(
        self,
        tcti: str,
        answered: Callable[[], None] = lambda: None,
        held: Mapping[int, str] | None = None,
        storage_name: str = "",
    ) -> None:
        self.tcti = tcti
        self.patience_s = 2.0
        self.held = dict(held or {})
        self.storage = StorageKey(storage_name)
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
            self._channel = Channel(self._esapi, self.held, self.storage, self._answered)
        return self._channel

    def run(self, work: Callable[[ESAPI], Answer]) -> Answer:
        """Work with the TPM; repeat that if the TPM is only busy or has not been started.

        Args:
            work: may run several times; must flush what it loads, whatever happens.

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
                if not is_from_tpm(rc):
                    # After some of these errors the context answers 0x70007 forever. Also, TPM and
                    # TSS may disagree on the nonces of the session's next HMAC: then the right
                    # password would count as a wrong one.
                    self.close()
                passes = self._lost_session(rc) or _passes(rc)
                if time.monotonic() + pause > until or not passes:
                    raise explain(rc, str(error)) from error
                started = base(rc) != Code.INITIALIZE
            time.sleep(pause)
            self._answered()

    def _lost_session(self, rc: int) -> bool:
        """Whether an error only means that the TPM has lost our session, for example by a reset."""
        channel = self._channel
        if channel is None or channel.salted is None or not salted.is_lost(rc):
            return False
        salted.close(channel, there=False)
        return True

    def rest(self, *, keep: bool) -> None:
        """Prepare for a while without jobs: leave no session in the TPM to grow old.

        Args:
            keep: refresh the session instead of closing it, for the next job must be quick.
        """
        if self._channel is None or self._channel.salted is None:
            return
        try:
            (salted.keep if keep else salted.close)(self._channel)
        except TSS2_Exception as error:
            LOG.info("session not closed: %s", error)
            if not is_from_tpm(int(error.rc)):
                self.close()

    def close(self) -> None:
        """Close the context; the next use opens a new one."""
        if self._esapi is not None:
            self._esapi.close()
            self._esapi = self._channel = None
            self.constant.clear()


def _passes(rc: int) -> bool:
    """Whether the TPM may answer differently a little later."""
    return is_from_tpm(rc) and (base(rc) == Code.INITIALIZE or base(rc) in BUSY)
