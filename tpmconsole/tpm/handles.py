"""Which persistent handles the owner may assign, checked before the TPM is asked.

TPM 2.0 Library Part 2, section 7.4, and the TCG Registry of Reserved TPM 2.0 Handles and
Localities, section 2.3.
"""

from __future__ import annotations

from tpmconsole.errors import ConsoleError, usage_error

PERSISTENT_FIRST, PERSISTENT_LAST = 0x81000000, 0x81FFFFFF
OWNER_LAST = 0x817FFFFF  # higher ones belong to the platform (Part 1, 37.8 and Part 3, 28.5)
SRK = 0x81000001
ENDORSEMENT_FIRST, ENDORSEMENT_LAST = 0x81010000, 0x8101FFFF


def parse_handle(text: str) -> int:
    """Parse a persistent handle as people write it.

    Raises:
        ConsoleError: it is not a number, or outside 0x81000000 to 0x81ffffff (Part 2, 7.4).
    """
    try:
        handle = int(text, 16)
    except ValueError:
        raise _not_persistent(f"'{text}'") from None
    if not PERSISTENT_FIRST <= handle <= PERSISTENT_LAST:
        raise _not_persistent(f"'{text}'")
    return handle


def check_persistent(handle: int) -> None:
    """Refuse a number that is not a persistent handle.

    Raises:
        ConsoleError: it is outside 0x81000000 to 0x81ffffff.
    """
    if not PERSISTENT_FIRST <= handle <= PERSISTENT_LAST:
        raise _not_persistent(f"0x{handle:08x}")


def _not_persistent(what: str) -> ConsoleError:
    return usage_error(
        "Not a persistent handle",
        what,
        "use one from 0x81000002 to 0x817fffff, such as 0x81000010",
    )


def check_owners(handle: int) -> None:
    """Refuse a handle that the owner cannot assign or evict.

    Raises:
        ConsoleError: it belongs to the platform, or is not a persistent handle.
    """
    check_persistent(handle)
    if handle > OWNER_LAST:
        raise usage_error(
            "Handle reserved",
            f"0x{handle:08x} belongs to the platform (the firmware), not to the owner",
            "choose one between 0x81000002 and 0x817fffff",
        )


def check_for_new_key(handle: int) -> None:
    """Refuse a handle that an application's key must not occupy.

    Raises:
        ConsoleError: every program expects a different key there, or it is not the owner's.
    """
    check_owners(handle)
    if handle == SRK or ENDORSEMENT_FIRST <= handle <= ENDORSEMENT_LAST:
        whose = "storage root key" if handle == SRK else "endorsement keys"
        raise usage_error(
            "Handle reserved",
            f"0x{handle:08x} is where every program looks for the TPM's {whose}",
            "choose another, such as 0x81000010",
        )
