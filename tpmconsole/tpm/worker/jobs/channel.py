"""The TSS as the jobs see it: it tells that the TPM still answers, and knows what it has loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tpm2_pytss import ESAPI, ESYS_TR, TSS2_Exception

from tpmconsole.tpm.responses import is_transport

# What jobs have in the TPM: the name of the object (Part 1, 16) by its handle there.
Held = dict[int, str]


class Channel:
    """An ESAPI context; everything that is not below is its own.

    Args:
        esapi: open and well.
        held: what was loaded over earlier contexts and could not be taken out, because the way to
            the TPM broke; from now on it has what is loaded over this one.
        answered: called after each command.
    """

    def __init__(self, esapi: ESAPI, held: Held, answered: Callable[[], None]) -> None:
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

    def hold(self, handle: ESYS_TR) -> None:
        """Remember an object that was just loaded; sends no command."""
        number = int(self._esapi.tr_get_tpm_handle(handle))
        self._held[number] = bytes(self._esapi.tr_get_name(handle)).hex()
        self._answered()

    def release(self, handle: ESYS_TR) -> None:
        """Take an object out of the TPM again.

        Raises:
            TSS2_Exception: it could not be.
        """
        number = int(self._esapi.tr_get_tpm_handle(handle))
        self.flush_context(handle)
        self._held.pop(number, None)

    def _flush_abandoned(self) -> None:
        """Take out what broken connections left, and nothing else.

        A resource manager has done so already, and nothing is there. Without one there may be
        another program's object at the handle by now: its name differs.
        """
        for number, name in list(self._held.items()):
            try:
                found = self._esapi.tr_from_tpmpublic(number)
            except TSS2_Exception as error:
                if is_transport(int(error.rc)):
                    raise
            else:
                ours = bytes(self._esapi.tr_get_name(found)).hex() == name
                (self._esapi.flush_context if ours else self._esapi.tr_close)(found)
            del self._held[number]
