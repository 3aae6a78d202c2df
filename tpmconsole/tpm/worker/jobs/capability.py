"""TPM2_GetCapability; the results are copied out of the TSS's memory at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tpm2_pytss import ESAPI, TPM2_CAP, TSS2_Exception

from tpmconsole.tpm.responses import Code, base, is_from_tpm

Answer = TypeVar("Answer")

_AT_ONCE = 127  # more than fits in one answer
_ROUNDS = 64  # stops a TPM that says "more" without end
# A TPM's answers to a command, or a capability (VALUE), that it does not have.
_MISSING = (Code.COMMAND_CODE, Code.DISABLED, Code.VALUE)

# Selected PCRs of a bank: its hash algorithm and the indices.
Bank = tuple[int, tuple[int, ...]]


def unless_missing(read: Callable[[], Answer]) -> Answer | None:
    """Run a command that not every chip has; None if this TPM does not have it.

    Raises:
        TSS2_Exception: the TPM refuses for another reason, or cannot be reached.
    """
    try:
        return read()
    except TSS2_Exception as error:
        rc = int(error.rc)
        if not is_from_tpm(rc) or base(rc) not in _MISSING:
            raise
        return None


def _collect(
    esapi: ESAPI, capability: int, first: int, read: Callable[[Any], list[tuple[int, ...]]]
) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for _ in range(_ROUNDS):
        # The lists are freed with this object: keep a reference while the numbers are copied.
        more, data = esapi.get_capability(capability, first, _AT_ONCE)
        page = read(data.data)
        found += page
        if not more or not page:
            break
        first = page[-1][0] + 1
    return found


def properties(esapi: ESAPI, group: int) -> dict[int, int]:
    """All TPM properties of a group: TPM2_PT.FIXED or TPM2_PT.VAR.

    In failure mode a TPM returns only a few of the fixed ones, one at a time.
    """
    found = _collect(
        esapi,
        TPM2_CAP.TPM_PROPERTIES,
        group,
        lambda data: [(int(one.property), int(one.value)) for one in data.tpmProperties],
    )
    return {number: value for number, value in found}  # noqa: C416 - tells mypy the length


def algorithms(esapi: ESAPI) -> tuple[int, ...]:
    """The numbers of the algorithms the TPM has."""
    found = _collect(
        esapi, TPM2_CAP.ALGS, 0, lambda data: [(int(one.alg),) for one in data.algorithms]
    )
    return tuple(one for (one,) in found)


def has_algorithm(esapi: ESAPI, number: int) -> bool:
    """Whether the TPM has an algorithm; quicker than listing them all."""
    _, data = esapi.get_capability(TPM2_CAP.ALGS, number, 1)
    return number in [int(one.alg) for one in data.data.algorithms]


def curves(esapi: ESAPI) -> tuple[int, ...]:
    """The numbers of the elliptic curves the TPM has."""
    found = _collect(
        esapi, TPM2_CAP.ECC_CURVES, 0, lambda data: [(int(one),) for one in data.eccCurves]
    )
    return tuple(one for (one,) in found)


def handles(esapi: ESAPI, first: int) -> tuple[int, ...]:
    """The handles in use of the same kind as ``first``, starting there."""
    found = _collect(
        esapi, TPM2_CAP.HANDLES, first, lambda data: [(int(one),) for one in data.handles]
    )
    return tuple(one for (one,) in found)


def banks(esapi: ESAPI) -> tuple[Bank, ...]:
    """The PCR banks that are switched on."""
    _, data = esapi.get_capability(TPM2_CAP.PCRS, 0, 1)
    found = []
    for one in data.data.assignedPCR:
        bits = int.from_bytes(bytes(one.pcrSelect[0 : one.sizeofSelect]), "little")
        indices = tuple(index for index in range(bits.bit_length()) if bits >> index & 1)
        if indices:
            found.append((int(one.hash), indices))
    return tuple(found)
