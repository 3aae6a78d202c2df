"""The board's clock, and whether it is plausible.

A board without a battery starts in 1970, or on the day that its image was built. A date compared
with such a clock is not wrong; it was not checked at all.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tpmconsole import __released__

# A clock that is earlier than the program that reads it is wrong.
BUILT = datetime.fromisoformat(f"{__released__}T00:00:00+00:00")
# As in systemd (its CLOCK_VALID_RANGE_USEC_MAX): no program is used for longer than that.
_YEARS = 15
LAST_BELIEVABLE = BUILT.replace(year=BUILT.year + _YEARS)
# A smaller difference has been corrected, or is about to be.
_OFF = timedelta(days=1)
_TIME_ERROR, _STA_UNSYNC = 5, 0x40  # linux/timex.h

SET_IT = "set the board's clock (date, chrony, the RTC's battery), then try again"


def now() -> datetime:
    """The time of the board's clock, aware UTC."""
    return datetime.now(UTC)


def moment(when: datetime) -> str:
    """A point in time to the minute, in UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def fault(when: datetime) -> str | None:
    """Why a time of the clock is not plausible; None if it is.

    Stored times are not considered: a time written while the clock was wrong is wrong as well,
    and would discredit a correct clock for years.
    """
    if BUILT <= when <= LAST_BELIEVABLE or synchronised(when):
        return None
    made = f"when this program was made ({BUILT:%Y-%m-%d})"
    than = f"earlier than {made}" if when < BUILT else f"more than {_YEARS} years after {made}"
    return f"clock not plausible: the board's clock says {moment(when)}, {than}"


def contradicted(when: datetime, made: datetime | None) -> str | None:
    """Why a plausible clock may be wrong anyway: a warning, never a reason to refuse.

    Args:
        made: when the identity was made by this clock, if known.
    """
    if made is None or when >= made - _OFF or synchronised(when):
        return None
    return (
        f"this identity was made {moment(made)} by the board's clock, which says "
        f"{moment(when)}: it was wrong then, or is now"
    )


def synchronised(when: datetime) -> bool:
    """Whether the kernel's clock has this time, and is synchronised with a time server."""
    kernels = synchronised_time()
    return kernels is not None and abs(kernels - when) < _OFF


def synchronised_time() -> datetime | None:
    """The kernel's time; None unless the kernel says that it is synchronised.

    From adjtimex(2), which NTP daemons keep up to date.
    """
    import ctypes  # needed only if the clock is in doubt

    # struct timex (linux/timex.h) is a series of longs, two of them ints padded to a long; the
    # buffer is larger than what any kernel writes. The first, modes, is 0: nothing is set.
    asked = (ctypes.c_long * 64)()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(asked))
    except (OSError, AttributeError):
        return None
    status = ctypes.c_int.from_buffer(asked, 5 * ctypes.sizeof(ctypes.c_long)).value
    if state in (-1, _TIME_ERROR) or status & _STA_UNSYNC:
        return None
    return datetime.fromtimestamp(asked[9], UTC)
