"""One ESAPI context: opened when first needed, given up when the way to the TPM breaks.

``Channel`` is the TSS as the jobs see it: it says that the TPM still answers, and knows what it has
loaded.
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
    """What is known of the TPM's storage key.

    Attributes:
        name: its Name, hexadecimal; empty until it is first seen.
    """

    name: str = ""


# What jobs have in the TPM: the name of the object (Part 1, 16) by its handle there.
Held = dict[int, str]
_SENDS = 5  # as often as the TSS: a TPM that counts tries answers "later" first
_ENTITIES = 16  # to remember; those that are gone from the TPM are of no more use
_SESSION = "session"  # instead of a Name, which a session has not
_FLUSH = HEADER.pack(0x8001, HEADER.size + 4, 0x165)  # TPM2_FlushContext
# Seconds between tries while the TPM says "later"; then again and again the last.
PAUSES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Channel:
    """An ESAPI context; everything that is not below is its own.

    Args:
        esapi: open and well.
        held: what was loaded over earlier contexts and could not be taken out, because the way to
            the TPM broke; from now on it has what is loaded over this one.
        storage: what is known of the TPM's storage key.
        answered: called after each command.

    Attributes:
        salted: the session that passwords are used in, where one is open.
    """

    def __init__(
        self, esapi: ESAPI, held: Held, storage: StorageKey, answered: Callable[[], None]
    ) -> None:
        self.storage = storage
        self.salted: salted.Salted | None = None
        self._entities: dict[int, Entity] = {}  # by the TSS's numbers, which it gives out once
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
        """The TSS's own, for what it offers no call for."""
        return self._esapi._ctx

    def send(self, command: bytes) -> bytes:
        """Send a command that the TSS does not know of.

        Raises:
            TSS2_Exception: the TPM's answer is an error, or there is none.
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
        """Remember a session that was just opened."""
        self._held[number] = _SESSION
        self._answered()

    def flush_session(self, number: int) -> None:
        """TPM2_FlushContext (Part 3, 28.4): its handle is a parameter."""
        self.send(_FLUSH + number.to_bytes(4, "big"))

    def hold(self, handle: ESYS_TR) -> None:
        """Remember an object that was just loaded; sends no command."""
        entity = self.entity(handle)
        self._held[entity.handle] = entity.name.hex()
        self._answered()

    def entity(self, handle: ESYS_TR, name: bytes | None = None) -> Entity:
        """An object as commands are made of it; sends none.

        Args:
            name: its Name where it is known: the TSS computes one each time it is asked, which
                takes as long as a simulated TPM's signature.
        """
        number = int(handle)
        if number not in self._entities:
            if len(self._entities) >= _ENTITIES:
                self._entities.clear()
            name = name or bytes(self._esapi.tr_get_name(handle))
            self._entities[number] = Entity(int(self._esapi.tr_get_tpm_handle(handle)), name)
        return self._entities[number]

    def release(self, handle: ESYS_TR) -> None:
        """Take an object out of the TPM again.

        Raises:
            TSS2_Exception: it could not be.
        """
        number = int(self._esapi.tr_get_tpm_handle(handle))
        self.flush_context(handle)
        self._held.pop(number, None)

    def forget(self, number: int) -> None:
        """The TPM does not have this any more."""
        self._held.pop(number, None)

    def _flush_abandoned(self) -> None:
        """Take out what broken connections left, and nothing else.

        A resource manager has done so already, and nothing is there. Without one there may be
        another program's object at the handle by now: its name differs.
        """
        for number, name in list(self._held.items()):
            try:
                if name == _SESSION:  # of which nothing tells whose it is
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
        tcti: always explicit; with none, the TSS takes any simulator on localhost for a TPM.
        answered: called each time the TPM has answered a command.
        held: what another process had loaded when it was ended, by handle; see ``Channel``.
        storage_name: the Name of the TPM's storage key where it is known.

    Attributes:
        patience_s: how long a TPM that only says "later" is asked again.
        held: what is loaded now.
        storage: what is known of this TPM's storage key.
        constant: what jobs remember of this TPM: it cannot change while the connection lasts.
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
                if not is_from_tpm(rc):
                    # After some of them this context answers 0x70007 for ever; and TPM and TSS may
                    # differ on what the session's next HMAC is made of: with that the right
                    # password would count as a wrong one.
                    self.close()
                passes = self._lost_session(rc) or _passes(rc)
                if time.monotonic() + pause > until or not passes:
                    raise explain(rc, str(error)) from error
                started = base(rc) != Code.INITIALIZE
            time.sleep(pause)
            self._answered()

    def _lost_session(self, rc: int) -> bool:
        """Whether an error says no more than that the TPM has lost our session, as by a reset."""
        channel = self._channel
        if channel is None or channel.salted is None or not salted.is_lost(rc):
            return False
        salted.close(channel, there=False)
        return True

    def rest(self, *, keep: bool) -> None:
        """Nothing is to be done for a while: leave no session in the TPM that grows old.

        Args:
            keep: it is needed again at once when something is.
        """
        if self._channel is None or self._channel.salted is None:
            return
        try:
            (salted.keep if keep else salted.close)(self._channel)
        except TSS2_Exception as error:
            LOG.info("session not put away: %s", error)
            if not is_from_tpm(int(error.rc)):
                self.close()

    def close(self) -> None:
        """Give the context up; the next use opens another."""
        if self._esapi is not None:
            self._esapi.close()
            self._esapi = self._channel = None
            self.constant.clear()


def _passes(rc: int) -> bool:
    """Whether a TPM that answers so may answer differently a little later."""
    return is_from_tpm(rc) and (base(rc) == Code.INITIALIZE or base(rc) in BUSY)
