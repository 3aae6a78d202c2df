"""How long a session's lists of revoked certificates (CRLs) are still valid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tpmconsole.errors import Action, ConsoleError, NextStep, Remedy
from tpmconsole.finding import Finding, fail, ok, warn
from tpmconsole.session.status import CrlInfo, SessionStatus

# Many lists are valid for a week: warn only in the second half of that time, or on the last day.
_LAST_DAY = timedelta(days=1)


def crl_finding(session: SessionStatus, now: datetime, warn_days: int) -> Finding | None:
    """Judge the list of a session that expires first; None if it uses no lists.

    Args:
        warn_days: warn this many days before it expires.
    """
    crl = session.crl
    if crl is None or session.state.ended:
        return None
    made, end = _moment(crl.this_update), _moment(crl.next_update)
    if end is None:
        return None
    issuer = f"issued by {crl.issuer}"
    when = f"{end:%Y-%m-%d %H:%M:%S} UTC"
    if now >= end:
        return fail(crl_ended(crl).cause, _fetch(session), issuer)
    half = _LAST_DAY if made is None else max((end - made) / 2, _LAST_DAY)
    if end - now < min(timedelta(days=warn_days), half) or end - now < _LAST_DAY:
        return warn(f"expires {when}; then every peer is refused", _fetch(session), issuer)
    return ok(f"until {when}", issuer)


def crl_ended(crl: CrlInfo, session: SessionStatus | None = None) -> ConsoleError:
    """Return the error of a session that refuses every peer.

    Args:
        session: the session; None if only its kind is known.
    """
    when = crl.next_update[:19].replace("T", " ")
    return ConsoleError(
        "Revocation list expired",
        f"the CRL of {crl.issuer} expired {when} UTC: every peer is refused",
        _fetch(session),
    )


def _fetch(session: SessionStatus | None) -> Remedy:
    if session is not None and session.unit is not None:
        return f"fetch a new CRL from its CA, then: systemctl reload {session.unit}"
    subject = "" if session is None else session.id
    return NextStep(
        Action.RELOAD, subject, "fetch a new CRL from its CA, then reload the session ({})"
    )


def _moment(iso: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
