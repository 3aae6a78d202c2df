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
from tpmconsole.session.tls.errors import explain
from tpmconsole.session.tls.peer import Peer
from tpmconsole.settings import Settings
from tpmconsole.x509.checks import check_dates

_asked = clock.synchronised_time
DAWN = datetime(1970, 1, 1, 0, 2, tzinfo=UTC)
TODAY = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture(autouse=True)
def unsynchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "synchronised_time", lambda: None)


@pytest.mark.parametrize(
    ("when", "believable"),
    [
        (DAWN, False),
        (clock.BUILT - timedelta(seconds=1), False),
        (clock.BUILT, True),
        (TODAY, True),
        (datetime(2036, 5, 5, tzinfo=UTC), True),
        (clock.LAST_BELIEVABLE, True),
        (clock.LAST_BELIEVABLE + timedelta(seconds=1), False),
        (datetime(2106, 2, 7, tzinfo=UTC), False),
    ],
)
def test_which_clock_is_believed(
    when: datetime, believable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (clock.fault(when) is None) is believable
    # The kernel's word counts for the time that the kernel tells, and for no other.
    monkeypatch.setattr(clock, "synchronised_time", lambda: when + timedelta(hours=20))
    assert clock.fault(when) is None
    monkeypatch.setattr(clock, "synchronised_time", lambda: when + timedelta(days=9))
    assert (clock.fault(when) is None) is believable


def test_the_kernel_is_asked_and_nothing_is_set() -> None:
    before = datetime.now(UTC)
    told = _asked()
    assert told is None or abs(told - before) < timedelta(minutes=1)


def test_the_release_is_no_day_to_come() -> None:
    assert datetime.now(UTC) >= clock.BUILT


def test_what_was_made_in_the_future_is_told_and_takes_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key made while the clock said 2036: the right clock judges all the same."""
    made = datetime(2036, 5, 5, tzinfo=UTC)
    root = ca("root", begin=TODAY - timedelta(days=99))
    good = leaf(root, begin=TODAY - timedelta(days=9), end=TODAY + timedelta(days=9)).certificate
    verdict = check_dates(good, TODAY, made)
    assert verdict.state == "ok"
    assert "made 2036-05-05 00:00 UTC" in verdict.text
    assert "made" not in check_dates(good, TODAY, TODAY + timedelta(hours=20)).text
    for days in (10, 3):
        old = leaf(
            root, begin=TODAY - timedelta(days=days + 9), end=TODAY - timedelta(days=days)
        ).certificate
        early = leaf(root, begin=TODAY + timedelta(days=days)).certificate
        assert check_dates(old, TODAY, made).state == "fail"
        assert check_dates(early, TODAY, made).state == "fail"
    monkeypatch.setattr(clock, "synchronised_time", lambda: TODAY)
    assert "made" not in check_dates(good, TODAY, made).text


def test_what_ended_before_the_release_has_ended_by_any_clock() -> None:
    root = ca("root", begin=datetime(2010, 1, 1, tzinfo=UTC))
    old = leaf(root, begin=datetime(2011, 1, 1, tzinfo=UTC), end=datetime(2012, 1, 1, tzinfo=UTC))
    for when in (DAWN, datetime(2011, 6, 1, tzinfo=UTC), TODAY, datetime(2099, 1, 1, tzinfo=UTC)):
        assert check_dates(old.certificate, when).state == "fail"
    new = leaf(root, begin=datetime(2011, 1, 1, tzinfo=UTC), end=TODAY + timedelta(days=9))
    assert check_dates(new.certificate, datetime(2011, 6, 1, tzinfo=UTC)).state == "warn"


@pytest.mark.parametrize(("now", "title"), [(lambda: DAWN, "not plausible"), (None, "not valid")])
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
    for now in (DAWN, clock.BUILT - timedelta(days=30)):
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        async with console(settings(tcti="device:/nowhere", tcti_source="--tcti")) as technician:
            await technician.sees(f"NO CLOCK   {now:%Y-%m-%d}")
            await technician.sees("gateway     NO CLOCK   EC P-256")
