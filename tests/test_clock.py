"""A board whose clock was never set: said, and no date is judged by it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from support.pki import ca, leaf
from support.technician import console

from tpmconsole import clock
from tpmconsole.board import Board
from tpmconsole.session.tls.errors import Peer, explain
from tpmconsole.settings import Settings

DAWN = datetime(1970, 1, 1, 0, 2, tzinfo=UTC)
TODAY = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "made", "believable"),
    [
        (DAWN, None, False),
        (TODAY, None, True),
        (TODAY, TODAY + timedelta(hours=20), True),  # put right by less than a day
        (TODAY, TODAY + timedelta(days=3), False),  # it was later already
    ],
)
def test_which_clock_is_believed(when: datetime, made: datetime | None, believable: bool) -> None:
    assert (clock.fault(when, made) is None) is believable


@pytest.mark.parametrize(("now", "title"), [(lambda: DAWN, "not believable"), (None, "not valid")])
def test_a_peers_dates_are_not_judged_by_a_clock_that_was_never_set(
    monkeypatch: pytest.MonkeyPatch, now: Callable[[], datetime] | None, title: str
) -> None:
    if now:
        monkeypatch.setattr(clock, "now", now)
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = 9, "certificate is not yet valid"
    assert title in explain(error, Peer("the server", "gateway:8443")).cause


async def test_the_overview_says_that_the_clock_was_never_set(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(settings())
    board.identities.create(
        "gateway", key_pem=b"-", handle=None, algorithm="ec-p256", auth="none", now=TODAY
    )
    board.identities.install("gateway", leaf(ca("root")).pem, None)
    for now in (DAWN, TODAY - timedelta(days=30)):
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        async with console(settings(tcti="device:/nowhere", tcti_source="--tcti")) as technician:
            await technician.sees(f"NO CLOCK   {now:%Y-%m-%d}")
            await technician.sees("gateway     NO CLOCK   EC P-256")
