"""The board's clock, and whether it can be believed.

A board without a battery wakes up in 1970, or at whatever date its image was built. Dates that are
judged by such a clock are not wrong, they are not judged at all.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# No board that runs this has a right to an earlier date: its clock was never set.
FIRST_BELIEVABLE = datetime(2024, 1, 1, tzinfo=UTC)
# Back by more than this is no correction: the clock was lost.
_SET_BACK = timedelta(days=1)

SET_IT = "set the board's clock (date, chrony, the RTC's battery), then try again"


def now() -> datetime:
    """What the board's clock says, aware UTC."""
    return datetime.now(UTC)


def moment(when: datetime) -> str:
    """A point in time to the minute, in UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def fault(when: datetime, made: datetime | None = None) -> str | None:
    """Why a time that the clock tells cannot be believed; None where it can.

    Args:
        made: something that was made by this clock; it cannot be later than now.
    """
    text = f"clock not believable: the board's clock says {moment(when)}"
    if when < FIRST_BELIEVABLE:
        return text
    if made is not None and when < made - _SET_BACK:
        return f"{text}, and this identity was made {moment(made)}"
    return None
