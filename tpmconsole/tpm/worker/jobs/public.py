"""Read the public areas of objects in the TPM without the TSS, which does not know every kind.

An answer that the TSS cannot decode makes its context useless, so one key of a new kind would hide
all others.
"""

from __future__ import annotations

import struct

from tpm2_pytss import ESAPI, TPM2_PT, TPMT_PUBLIC, TSS2_Exception

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.tpm.handles import OWNER_LAST
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.responses import Code, base, is_from_tpm
from tpmconsole.tpm.worker.jobs import capability
from tpmconsole.tpm.worker.jobs.hmac_session import HEADER, unsized

_READ_PUBLIC = 0x173  # TPM_CC, Part 2, 6.5.2
_NO_SESSIONS = 0x8001
_NOT_DECODED = 0x90006  # TSS2_MU_RC_BAD_SIZE
# TPMA_STARTUP_CLEAR, Part 2, 8.7.
_ON = {1 << 0: "platform", 1 << 1: "owner", 1 << 2: "endorsement"}


def read(esapi: ESAPI, handle: int) -> tuple[bytes, bytes]:
    """TPM2_ReadPublic (Part 3, 12.4): the public area and the Name, as the TPM returned them.

    Raises:
        ConsoleError: the TPM does not give it out.
        TSS2_Exception: the TPM refuses for another reason, or cannot be reached.
    """
    size = HEADER.size + 4
    command = HEADER.pack(_NO_SESSIONS, size, _READ_PUBLIC) + handle.to_bytes(4, "big")
    try:
        answer = esapi.send(command)
    except TSS2_Exception as error:
        rc = int(error.rc)
        if not is_from_tpm(rc) or base(rc) not in (Code.HANDLE, Code.HIERARCHY):
            raise
        raise _not_there(esapi, handle, rc) from error
    try:
        area, rest = unsized(answer[HEADER.size :])
        name, rest = unsized(rest)
        unsized(rest)  # the qualified Name
    except struct.error as error:
        raise TSS2_Exception(_NOT_DECODED) from error
    return area, name


def _not_there(esapi: ESAPI, handle: int, rc: int) -> ConsoleError:
    """Why the TPM does not know a handle: it gives the same answer if the hierarchy is off."""
    step = NextStep(Action.LIST_KEYS, text="look at the handles in use: {}")
    if handle not in capability.handles(esapi, handle):
        cause = f"there is nothing at 0x{handle:08x}"
        return ConsoleError("No such key", cause, step, ExitCode.REFUSED, response_code=rc)
    state = capability.properties(esapi, TPM2_PT.VAR).get(TPM2_PT.STARTUP_CLEAR, 0)
    whose = ("platform",) if handle > OWNER_LAST else ("owner", "endorsement")
    off = [name for bit, name in _ON.items() if not state & bit and name in whose]
    cause = f"the {off[0]} hierarchy is switched off" if off else "the TPM does not give it out"
    return ConsoleError(
        "Key not readable",
        f"0x{handle:08x}: {cause}",
        "switch the hierarchy on in the firmware's TPM settings" if off else step,
        ExitCode.REFUSED,
        response_code=rc,
    )


def area_at(esapi: ESAPI, handle: int) -> public_area.PublicArea:
    """The public area of an object whose kind both we and the TSS know.

    Raises:
        ConsoleError: the TPM does not give it out, or its kind is not known here.
        TSS2_Exception: as ``read``.
    """
    encoded, _ = read(esapi, handle)
    area = decoded(encoded)
    try:
        TPMT_PUBLIC.unmarshal(encoded)
    except TSS2_Exception as error:
        raise not_understood(f"{area.algorithm}: the TSS does not know this kind") from error
    return area


def decoded(encoded: bytes) -> public_area.PublicArea:
    """Decode a public area.

    Raises:
        ConsoleError: its kind is not known here.
    """
    try:
        return public_area.decode(encoded)
    except public_area.PublicAreaError as error:
        raise not_understood(str(error)) from error


def not_understood(cause: str) -> ConsoleError:
    """The error for an object whose kind is not known here."""
    return ConsoleError("Key not understood", cause, "use another key", ExitCode.REFUSED)
