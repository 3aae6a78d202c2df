"""The checks on a single certificate. Each returns ok, warn or fail, the reason and a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509

from tpmconsole import clock
from tpmconsole.clock import moment
from tpmconsole.errors import Action, NextStep
from tpmconsole.finding import Finding, fail, ok, warn
from tpmconsole.settings import WARN_DAYS
from tpmconsole.text import printable
from tpmconsole.x509.chain import PURPOSES, roles_of
from tpmconsole.x509.names import (
    basic_constraints,
    general_names,
    key_usage,
    netscape_type,
    purposes,
)
from tpmconsole.x509.san import Reached, matches, unmatched

EXPIRES_SOON = timedelta(days=WARN_DAYS)

_NETSCAPE_BITS = {"client": 0x80, "server": 0x40}
_ASK = NextStep(Action.ASK_FOR_NAMES, text="make a new request with {}")
_RENEW = NextStep(
    Action.RENEW,
    text="ask your CA for a new certificate: {}, or if it is the first one, send the request "
    "again; then import it",
)


def check_dates(leaf: x509.Certificate, now: datetime, made: datetime | None = None) -> Finding:
    """Check the validity dates against the board's clock, and check that the clock is plausible.

    Args:
        made: when the identity was made, by this board's clock; None if unknown.
    """
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    text = clock.fault(now)
    if text and end > max(begin, clock.BUILT):  # else it has expired whatever the clock says
        if now < begin:
            return fail(
                f"{text}, the certificate starts {moment(begin)}", clock.SET_IT, name="dates"
            )
        return warn(text, clock.SET_IT, name="dates")
    if end < begin:
        return fail(
            f"it ends ({moment(end)}) before it starts ({moment(begin)})", _RENEW, name="dates"
        )
    if now < begin:
        return fail(
            f"not valid before {moment(begin)}; the board's clock says {moment(now)}",
            "check the board's clock first: it may be slow; otherwise wait until then",
            name="dates",
        )
    if now >= end or text:
        text = f"expired {moment(end)}; the board's clock says {moment(now)}"
        return fail(text, _RENEW + "; if that cannot be, check the clock", name="dates")
    against = clock.contradicted(now, made)
    beside = f"; {against}" if against else ""
    return ok(f"valid from {moment(begin)} to {moment(end)}{beside}", name="dates")


def check_expiry(leaf: x509.Certificate, now: datetime, soon: timedelta = EXPIRES_SOON) -> Finding:
    """Check how long a certificate that is valid now stays valid."""
    left = leaf.not_valid_after_utc - now
    days = {0: "less than a day", 1: "1 day"}.get(left.days, f"{left.days} days")
    if left < soon:
        return warn(f"expires in {days}", _RENEW, name="expiry")
    return ok(f"{days} left", name="expiry")


def check_not_ca(leaf: x509.Certificate) -> Finding:
    """Check that a device's certificate cannot sign other certificates."""
    basic, usage = basic_constraints(leaf), key_usage(leaf)
    ask = "ask your CA for an end-entity certificate (basic constraints CA:FALSE)"
    if basic is not None and basic.ca:
        return fail("it is the certificate of a CA, not of a device", ask, name="not-a-ca")
    if usage is not None and usage.key_cert_sign:
        return fail("its key usage lets it sign certificates", ask, name="not-a-ca")
    return ok("it is not a CA", name="not-a-ca")


def check_usage(leaf: x509.Certificate, role: str) -> Finding:
    """Check key usage and extended key usage for the role (RFC 5280, 4.2.1.3 and 4.2.1.12)."""
    usage, allowed = key_usage(leaf), purposes(leaf)
    if usage is not None and not usage.digital_signature:
        return fail(
            "its key usage has no digitalSignature, which TLS requires",
            "ask your CA for a certificate with key usage digitalSignature",
            name="usage",
        )
    missing = [
        one for one in roles_of(role) if allowed is not None and PURPOSES[one] not in allowed
    ]
    if missing:
        words = " and ".join(f"{one}Auth" for one in missing)
        return fail(
            f"its extended key usage has no {words}",
            NextStep(
                Action.USE_ROLE,
                text=f"ask your CA for {words}, or import it for the role that it allows {{}}",
            ),
            name="usage",
        )
    old = netscape_type(leaf)
    other = [one for one in roles_of(role) if old is not None and not old & _NETSCAPE_BITS[one]]
    if other:
        return fail(
            f"its Netscape certificate type does not allow a {other[0]}; OpenSSL requires that",
            "ask your CA for a certificate without that extension (nsCertType)",
            name="usage",
        )
    if allowed is None:
        return ok("its use is not restricted", name="usage")
    return ok(f"it may be used as {' and '.join(roles_of(role))}", name="usage")


def check_san(leaf: x509.Certificate, reached: Sequence[Reached] = ()) -> Finding:
    """Check that a server's certificate has a name that clients can compare (RFC 9525).

    Args:
        reached: where clients are known to reach it.
    """
    names = [one for one in general_names(leaf) if isinstance(one, (x509.DNSName, x509.IPAddress))]
    faults = [fault for fault in map(unmatched, names) if fault]
    good = [one for one in names if not unmatched(one)]
    missed = [one for one in reached if not any(matches(name, one.host) for name in good)]
    if good and missed:
        return warn(
            f"it does not name {printable(missed[0].host)}, {missed[0].where}: a client that "
            "connects to that refuses it",
            "have clients connect by a name that it has, or " + _ASK,
            name="san",
        )
    if names and faults:
        beside = f"no client can match {faults[0]}"
        if len(faults) < len(names):
            return ok(f"it names the server for its clients; {beside}", name="san")
        return warn(
            f"{beside}: clients cannot check that they reached this server", _ASK, name="san"
        )
    if names:
        return ok("it names the server for its clients", name="san")
    return warn(
        "it has no DNS name or IP address: clients cannot check that they reached this server; "
        "the common name does not count",
        _ASK,
        name="san",
    )
