"""The board's clock, and whether it can be believed.

A board without a battery wakes up in 1970, or at whatever date its image was built. Dates that are
judged by such a clock are not wrong, they are not judged at all.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tpmconsole import __released__

# No clock is right that tells an earlier time than that of the program that reads it.
BUILT = datetime.fromisoformat(f"{__released__}T00:00:00+00:00")
# As systemd has it (its CLOCK_VALID_RANGE_USEC_MAX): nobody runs a program for longer than that.
_YEARS = 15
LAST_BELIEVABLE = BUILT.replace(year=BUILT.year + _YEARS)
# What is off by less was put right, or waits to be.
_OFF = timedelta(days=1)
_TIME_ERROR, _STA_UNSYNC = 5, 0x40  # linux/timex.h

SET_IT = "set the board's clock (date, chrony, the RTC's battery), then try again"


def now() -> datetime:
    """What the board's clock says, aware UTC."""
    return datetime.now(UTC)


def moment(when: datetime) -> str:
    """A point in time to the minute, in UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def fault(when: datetime) -> str | None:
    """Why a time that the clock tells cannot be believed; None where it can.

    Nothing that is stored is asked: what was written while the clock was wrong is wrong as well,
    and would take a right clock's word from it for years.
    """
    if BUILT <= when <= LAST_BELIEVABLE or synchronised(when):
        return None
    made = f"when this program was made ({BUILT:%Y-%m-%d})"
    than = f"earlier than {made}" if when < BUILT else f"more than {_YEARS} years after {made}"
    return f"clock not plausible: the board's clock says {moment(when)}, {than}"


def contradicted(when: datetime, made: datetime | None) -> str | None:
    """What speaks against a clock that is believed: evidence, to be told and not to judge by.

    Args:
        made: when the identity was made by this clock, where that is known.
    """
    if made is None or when >= made - _OFF or synchronised(when):
        return None
    return (
        f"this identity was made {moment(made)} by the board's clock, which says "
        f"{moment(when)}: it was wrong then, or is now"
    )


def synchronised(when: datetime) -> bool:
    """Whether the kernel's clock says this time, and says that it is kept by a time server."""
    kernels = synchronised_time()
    return kernels is not None and abs(kernels - when) < _OFF


def synchronised_time() -> datetime | None:
    """The kernel's time; None where it does not say that it is synchronised, or does not answer.

    By adjtimex(2), which NTP's daemons keep up to date.
    """
    import ctypes  # which only a clock that is in doubt needs

    # struct timex (linux/timex.h) is long after long, two of them an int where a long is longer;
    # there is more room here than any kernel writes. The first, modes, is 0: nothing is set.
    asked = (ctypes.c_long * 64)()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(asked))
    except (OSError, AttributeError):
        return None
    status = ctypes.c_int.from_buffer(asked, 5 * ctypes.sizeof(ctypes.c_long)).value
    if state in (-1, _TIME_ERROR) or status & _STA_UNSYNC:
        return None
    return datetime.fromtimestamp(asked[9], UTC)
