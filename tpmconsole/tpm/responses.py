"""Explain the response codes of the TPM and the TSS.

The codes are those of the TPM 2.0 Library, Part 2, section 6.6 (TPM_RC), and of the TCG TSS 2.0
Overview and Common Structures, section 3 (which layer answered). Nothing here needs the TSS.
"""

from __future__ import annotations

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm.response_texts import (
    BUSY,
    NO_ROOM,
    NONSENSE_WORDS,
    RSP_AUTH_FAILED,
    TPM_WORDS,
    TSS_WORDS,
    UNSUPPORTED,
    Code,
)

__all__ = [
    "BUSY",
    "NO_ROOM",
    "UNSUPPORTED",
    "Code",
    "base",
    "explain",
    "is_from_tpm",
    "is_transport",
    "refuses_password",
]

_TPM_LAYERS = (0, 12)  # the TPM itself; a resource manager that answers on its behalf
_RESOURCE_MANAGER = 11  # Linux's resource manager uses this layer with the TPM's own codes
_SYS, _MU, _TCTI = 8, 9, 10


def base(rc: int) -> int:
    """A TPM response code without the number of the handle, parameter or session at fault."""
    code = rc & 0xFFFF
    return code & 0xBF if code & 0x80 else code


def is_from_tpm(rc: int) -> bool:
    """Whether the code comes from the TPM itself, not from a layer in between."""
    layer = (rc >> 16) & 0xFF
    return layer in _TPM_LAYERS or (layer == _RESOURCE_MANAGER and rc & 0xFFFF >= 0x80)


def is_transport(rc: int | None) -> bool:
    """Whether the connection to the TPM broke, which makes the TSS context useless."""
    if not rc or is_from_tpm(rc):
        return False
    layer = (rc >> 16) & 0xFF
    return (
        layer in (_MU, _TCTI, _RESOURCE_MANAGER)
        or rc in (0x70007, RSP_AUTH_FAILED)
        or (layer == _SYS and rc & 0xFFF0 == 0x10)
    )


def refuses_password(rc: int) -> bool:
    """Whether the TPM says that an authorisation is wrong."""
    return is_from_tpm(rc) and base(rc) in (Code.AUTH_FAIL, Code.BAD_AUTH)


def subject(rc: int) -> str:
    """What a format-one code is about: ``handle 1``, ``parameter 2``, ``session 1``."""
    if not rc & 0x80:
        return ""
    number = (rc >> 8) & 0xF
    if rc & 0x40:
        return f"parameter {number}"
    if number >= 8:
        return f"session {number - 8}"
    return f"handle {number}" if number else ""


def explain(rc: int, text: str = "") -> ConsoleError:
    """Turn a response code into an error for the user.

    Args:
        rc: the code, as the TSS reports it.
        text: the TSS's description, used for codes that we have no text for.
    """
    if is_transport(rc) or rc in TSS_WORDS:
        cause, remedy = TSS_WORDS.get(rc, (f"{text or 'unknown'} (0x{rc:x})", "try again"))
        if (rc >> 16) & 0xFF == _MU:  # unmarshalling; what we marshal was checked before
            cause, remedy = NONSENSE_WORDS
        return ConsoleError("No TPM reached", cause, remedy, ExitCode.NO_TPM, response_code=rc)
    if is_from_tpm(rc):
        words = TPM_WORDS.get(base(rc))
        if words is not None:
            return ConsoleError(*words, ExitCode.REFUSED, response_code=rc)
        about = subject(rc)
        said = f"the TPM answered 0x{rc:x}" + (f" about {about}" if about else "")
    else:
        said = f"the TSS answered 0x{rc:x}"
    return ConsoleError(
        "TPM refused",
        f"{said}: {text}" if text else said,
        "try again; if it happens again, report it with the log",
        ExitCode.REFUSED,
        response_code=rc,
    )
