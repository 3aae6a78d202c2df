"""Read the TPM's state with few commands."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tpm2_pytss import ESAPI, TPM2_CAP, TPM2_PT, TPM2_PT_HR, TPML_PCR_SELECTION, TSS2_Exception
from tpm2_pytss.constants import TPM2_PT_FIRMWARE, TPM2_PT_VENDOR

from tpmconsole.tpm import tcg
from tpmconsole.tpm.handles import PERSISTENT_FIRST
from tpmconsole.tpm.model import Clock, Hierarchy, Room, SelfTestResult, TpmHealth
from tpmconsole.tpm.responses import Code, base, is_from_tpm
from tpmconsole.tpm.tcti import is_simulator_tcti
from tpmconsole.tpm.worker.jobs import capability
from tpmconsole.tpm.worker.jobs.capability import unless_missing
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.dictionary_attack import LOCKOUT_AUTH, lockout_of
from tpmconsole.tpm.worker.jobs.hmac_session import NEEDED
from tpmconsole.tpm.worker.jobs.selftest import read_result, run_test

_TRANSIENT_FIRST = 0x80000000
_PCRS_AT_ONCE = 8  # the most digests that TPM2_PCR_Read returns (TPML_DIGEST)

_VENDOR_STRINGS = tuple(int(TPM2_PT_VENDOR.STRING_1) + number for number in range(4))

# TPMA_PERMANENT and TPMA_STARTUP_CLEAR, Part 2, 8.6 and 8.7.
_OWNER_AUTH, _ENDORSEMENT_AUTH = 1 << 0, 1 << 1
_PLATFORM_ON, _OWNER_ON, _ENDORSEMENT_ON = 1 << 0, 1 << 1, 1 << 2


def ping(context: Context) -> None:
    """Find out whether the TPM answers, with one short command."""
    context.run(lambda esapi: esapi.get_capability(TPM2_CAP.TPM_PROPERTIES, TPM2_PT.FIXED, 1))


def health(context: Context, brief: bool) -> dict[str, Any]:
    """All of ``TpmHealth``, as JSON; in failure mode only what the TPM still reports.

    Args:
        brief: omit the PCRs, which take more commands than all the rest.
    """
    return asdict(context.run(lambda esapi: _read(context, esapi, brief=brief)))


def self_test(context: Context, full: bool) -> dict[str, Any]:
    """Run a test; the answer holds its result and the TPM's state after it, as in ``health``.

    One job for both, because every caller shows the state and needs the count of resets.
    """
    return {"self_test": run_test(context, full), "health": health(context, brief=True)}


def _read(context: Context, esapi: ESAPI, *, brief: bool) -> TpmHealth:
    tested, tcti = read_result(esapi), context.tcti
    fixed: dict[int, int] = context.constant.get("fixed") or {}
    if not fixed or tested.result is SelfTestResult.FAILED:  # it then reports fewer, reversed
        fixed = capability.properties(esapi, TPM2_PT.FIXED)
    failed = tested.result is SelfTestResult.FAILED
    details: dict[str, Any] = _NOTHING
    if not failed:
        try:
            details = _details(context, esapi, brief=brief)
            context.constant["fixed"] = fixed
        except TSS2_Exception as error:
            if not is_from_tpm(int(error.rc)) or base(int(error.rc)) != Code.FAILURE:
                raise
            failed = True
            tested = read_result(esapi)
    if failed:
        fixed = _right_way_round(fixed)
    code, vendor = _text(fixed, TPM2_PT.MANUFACTURER), _vendor(fixed)
    return TpmHealth(
        tcti=tcti,
        tcti_why="",
        simulated=_is_simulated(tcti, code, vendor),
        mode="failure" if failed else "operational",
        manufacturer=code,
        manufacturer_name=tcg.manufacturer(code, vendor),
        vendor=vendor,
        firmware=_firmware(fixed, code),
        family=_text(fixed, TPM2_PT.FAMILY_INDICATOR),
        revision=_revision(fixed),
        self_test=tested,
        **details,
    )


_NOTHING: dict[str, Any] = {
    "lockout": None,
    "hierarchies": {},
    "persistent": None,
    "transient": None,
    "algorithms": (),
    "curves": (),
    "pcrs": {},
    "clock": None,
}


def _details(context: Context, esapi: ESAPI, *, brief: bool) -> dict[str, Any]:
    """What only a working TPM reports."""
    state = capability.properties(esapi, TPM2_PT.VAR)
    if "algorithms" not in context.constant:
        numbers = unless_missing(lambda: capability.algorithms(esapi))
        curves = unless_missing(lambda: capability.curves(esapi)) or ()
        context.constant |= {
            # A TPM that does not list its algorithms may still have them.
            "encrypted_sessions": numbers is None or set(NEEDED).issubset(numbers),
            "algorithms": tuple(tcg.algorithm(one) for one in numbers or ()),
            "curves": tuple(tcg.curve(one) for one in curves),
        }
    return {
        "lockout": lockout_of(state),
        "hierarchies": _hierarchies(state),
        "persistent": _persistent_room(state),
        "transient": Room(
            len(capability.handles(esapi, _TRANSIENT_FIRST)),
            state.get(TPM2_PT_HR.TRANSIENT_AVAIL, 0),
        ),
        "encrypted_sessions": context.constant["encrypted_sessions"],
        "algorithms": context.constant["algorithms"],
        "curves": context.constant["curves"],
        "pcrs": {} if brief else unless_missing(lambda: _pcrs(esapi)) or {},
        "clock": unless_missing(lambda: _clock(esapi)),
        "persistent_handles": tuple(
            f"0x{one:08x}" for one in capability.handles(esapi, PERSISTENT_FIRST)
        ),
    }


def room(context: Context) -> dict[str, int]:
    """The room for persistent keys, as JSON, with the one command of ``health`` that reads it."""
    read = context.run(lambda esapi: capability.properties(esapi, TPM2_PT.VAR))
    return asdict(_persistent_room(read))


def _persistent_room(state: Mapping[int, int]) -> Room:
    return Room(state.get(TPM2_PT_HR.PERSISTENT, 0), state.get(TPM2_PT_HR.PERSISTENT_AVAIL, 0))


def _hierarchies(state: Mapping[int, int]) -> dict[str, Hierarchy]:
    auth, on = state.get(TPM2_PT.PERMANENT, 0), state.get(TPM2_PT.STARTUP_CLEAR, 0)
    return {
        "owner": Hierarchy(bool(auth & _OWNER_AUTH), bool(on & _OWNER_ON)),
        "endorsement": Hierarchy(bool(auth & _ENDORSEMENT_AUTH), bool(on & _ENDORSEMENT_ON)),
        "lockout": Hierarchy(bool(auth & LOCKOUT_AUTH)),
        "platform": Hierarchy(None, bool(on & _PLATFORM_ON)),
    }


def _pcrs(esapi: ESAPI) -> dict[str, dict[int, str]]:
    found: dict[str, dict[int, str]] = {}
    for number, indices in capability.banks(esapi):
        values = found[tcg.bank(number)] = {}
        for start in range(0, len(indices), _PCRS_AT_ONCE):
            some = indices[start : start + _PCRS_AT_ONCE]
            _, _, digests = esapi.pcr_read(_selection(number, some))
            values |= {
                index: bytes(digest).hex() for index, digest in zip(some, digests, strict=False)
            }
    return found


def _selection(bank: int, indices: tuple[int, ...]) -> TPML_PCR_SELECTION:
    bits = sum(1 << index for index in indices)
    # Marshalled by hand (Part 2, 10.9.7): tpm2_pytss parses only names, and not of every bank.
    size = max(3, (bits.bit_length() + 7) // 8)
    packed = struct.pack(">IHB", 1, bank, size) + bits.to_bytes(size, "little")
    selection, _ = TPML_PCR_SELECTION.unmarshal(packed)
    return selection


def _clock(esapi: ESAPI) -> Clock:
    now = esapi.read_clock()
    info = now.clockInfo
    return Clock(
        clock_ms=int(info.clock),
        time_ms=int(now.time),
        reset_count=int(info.resetCount),
        restart_count=int(info.restartCount),
        safe=bool(info.safe),
    )


def _text(fixed: Mapping[int, int], *numbers: int) -> str:
    """The text in properties of four letters each, without characters that are not printable."""
    raw = b"".join(struct.pack(">I", fixed.get(number, 0)) for number in numbers)
    shown = "".join(chr(one) for one in raw if 0x20 <= one < 0x7F)
    return " ".join(shown.split())


def _right_way_round(fixed: dict[int, int]) -> dict[int, int]:
    """Put the letters of text properties in order.

    In failure mode the reference code reverses each group of four on little-endian machines
    (libtpms does, and so may chips that run that code).
    """
    texts = (TPM2_PT.MANUFACTURER, *_VENDOR_STRINGS)
    swapped = fixed | {
        number: int.from_bytes(fixed.get(number, 0).to_bytes(4, "big"), "little")
        for number in texts
    }
    reversed_ = _text(fixed, TPM2_PT.MANUFACTURER) not in tcg.MANUFACTURERS
    return swapped if reversed_ and _text(swapped, texts[0]) in tcg.MANUFACTURERS else fixed


def _vendor(fixed: Mapping[int, int]) -> str:
    return _text(fixed, *_VENDOR_STRINGS)


def _firmware(fixed: Mapping[int, int], code: str) -> str:
    high, low = (
        fixed.get(TPM2_PT_FIRMWARE.VERSION_1, 0),
        fixed.get(TPM2_PT_FIRMWARE.VERSION_2, 0),
    )
    return tcg.firmware(code, high, low)


def _revision(fixed: Mapping[int, int]) -> str:
    """The specification's revision: 164 is published as 1.64; empty if not reported."""
    revision = fixed.get(TPM2_PT.REVISION, 0)
    return f"{revision / 100:.2f}" if revision else ""


def _is_simulated(tcti: str, code: str, vendor: str) -> bool:
    """Whether it is simulated; never a kernel device, even if the whole board is emulated."""
    if tcti.startswith("device:"):
        return False
    return is_simulator_tcti(tcti) or (code == "IBM" and vendor == "SW TPM")
