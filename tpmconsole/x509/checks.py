"""The checks on a certificate by itself. Each says ok, warn or fail, why and what to do."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509

from tpmconsole import clock
from tpmconsole.clock import moment
from tpmconsole.finding import Verdict, fail, ok, warn
from tpmconsole.settings import WARN_DAYS
from tpmconsole.x509.chain import PURPOSES, roles_of
from tpmconsole.x509.names import basic_constraints, general_names, key_usage, purposes

EXPIRES_SOON = timedelta(days=WARN_DAYS)

_RENEW = (
    "ask your CA for a new certificate: tpmconsole renew, or for a first one hand the request over "
    "again; then import it"
)


def check_dates(leaf: x509.Certificate, now: datetime, made: datetime | None = None) -> Verdict:
    """The validity against the board's clock, and the clock against reason.

    Args:
        made: when the identity was made by this board's clock, where that is known.
    """
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    text = clock.fault(now, made)
    if text:
        if now < begin:
            return fail("dates", f"{text}, the certificate begins {moment(begin)}", clock.SET_IT)
        return warn("dates", text, clock.SET_IT)
    if end < begin:
        return fail("dates", f"it ends ({moment(end)}) before it begins ({moment(begin)})", _RENEW)
    if now < begin:
        return fail(
            "dates",
            f"not valid before {moment(begin)}; the board's clock says {moment(now)}",
            "check the board's clock first, it may be slow; else wait until then",
        )
    if now > end:
        text = f"expired {moment(end)}; the board's clock says {moment(now)}"
        return fail("dates", text, f"{_RENEW}; check the clock where that cannot be")
    return ok("dates", f"valid from {moment(begin)} to {moment(end)}")


def check_expiry(leaf: x509.Certificate, now: datetime, soon: timedelta = EXPIRES_SOON) -> Verdict:
    """How long a certificate that is valid now still holds."""
    left = leaf.not_valid_after_utc - now
    days = {0: "less than a day", 1: "1 day"}.get(left.days, f"{left.days} days")
    if left < soon:
        return warn("expiry", f"expires in {days}", _RENEW)
    return ok("expiry", f"{days} left")


def check_not_ca(leaf: x509.Certificate) -> Verdict:
    """A device's certificate must not be able to sign others."""
    basic, usage = basic_constraints(leaf), key_usage(leaf)
    ask = "ask your CA for an end-entity certificate (basic constraints CA:FALSE)"
    if basic is not None and basic.ca:
        return fail("not-a-ca", "it is the certificate of a CA, not of a device", ask)
    if usage is not None and usage.key_cert_sign:
        return fail("not-a-ca", "its key usage lets it sign certificates", ask)
    return ok("not-a-ca", "it is no CA")


def check_usage(leaf: x509.Certificate, role: str) -> Verdict:
    """Key usage and extended key usage against the role (RFC 5280, 4.2.1.3 and 4.2.1.12)."""
    usage, allowed = key_usage(leaf), purposes(leaf)
    if usage is not None and not usage.digital_signature:
        return fail(
            "usage",
            "its key usage has no digitalSignature, which TLS asks for",
            "ask your CA for a certificate with key usage digitalSignature",
        )
    missing = [
        one for one in roles_of(role) if allowed is not None and PURPOSES[one] not in allowed
    ]
    if missing:
        words = " and ".join(f"{one}Auth" for one in missing)
        return fail(
            "usage",
            f"its extended key usage has no {words}",
            f"ask your CA for {words}, or import it for the role it is for with --role",
        )
    if allowed is None:
        return ok("usage", "it is not limited to some uses")
    return ok("usage", f"it may be used as {' and '.join(roles_of(role))}")


def check_san(leaf: x509.Certificate) -> Verdict:
    """A server needs a name that its clients can compare (RFC 9525)."""
    kinds = (x509.DNSName, x509.IPAddress)
    if any(isinstance(name, kinds) for name in general_names(leaf)):
        return ok("san", "it names the server for its clients")
    return warn(
        "san",
        "it has no DNS name or IP address: clients cannot check that they reached this server",
        "make a new request with --san dns:NAME or --san ip:ADDRESS",
    )
