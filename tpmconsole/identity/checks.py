"""The checks on one certificate and its chain. Each says ok, warn or fail, why and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tpmconsole.identity.chain import (
    PURPOSES,
    Path,
    constraints,
    find_fault,
    is_self_signed,
    needs_verifier,
    purposes,
    roles_of,
    usages,
    verify,
)
from tpmconsole.identity.naming import fingerprint, general_names, moment, name_text
from tpmconsole.identity.verdict import Verdict, fail, ok, warn

EXPIRES_SOON = timedelta(days=30)
# No board that runs this has a right to an earlier date: its clock was never set.
CLOCK_BELIEVABLE = datetime(2024, 1, 1, tzinfo=UTC)
RSA_BITS = 2048
EC_BITS = 224  # below it OpenSSL's security level 2 (Debian's default) refuses a curve

_RENEW = "ask your CA for a new certificate: tpmconsole request, then import"
_SET_CLOCK = "set the board's clock (date, chrony, the RTC's battery), then try again"


def check_dates(leaf: x509.Certificate, now: datetime) -> Verdict:
    """The validity against the board's clock, and the clock against reason."""
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now < CLOCK_BELIEVABLE:
        text = f"clock not believable: the board's clock says {moment(now)}"
        if now < begin:
            return fail("dates", f"{text}, the certificate begins {moment(begin)}", _SET_CLOCK)
        return warn("dates", text, _SET_CLOCK)
    if end < begin:
        return fail("dates", f"it ends ({moment(end)}) before it begins ({moment(begin)})", _RENEW)
    if now < begin:
        return fail(
            "dates",
            f"not valid before {moment(begin)}; the board's clock says {moment(now)}",
            "check the board's clock first, it may be slow; else wait until then",
        )
    if now > end:
        return fail("dates", f"expired {moment(end)}; the clock says {moment(now)}", _RENEW)
    return ok("dates", f"valid from {moment(begin)} to {moment(end)}")


def check_expiry(leaf: x509.Certificate, now: datetime) -> Verdict:
    """How long it still holds."""
    left = leaf.not_valid_after_utc - now
    if now < CLOCK_BELIEVABLE:
        return ok("expiry", f"ends {moment(leaf.not_valid_after_utc)}")
    if left < timedelta(0):
        return fail("expiry", f"it ended {moment(leaf.not_valid_after_utc)}", _RENEW)
    days = "1 day" if left.days == 1 else f"{left.days} days"
    if left < EXPIRES_SOON:
        return warn("expiry", f"expires in {days}", _RENEW)
    return ok("expiry", f"{days} left")


def check_not_ca(leaf: x509.Certificate) -> Verdict:
    """A device's certificate must not be able to sign others."""
    basic, usage = constraints(leaf), usages(leaf)
    ask = "ask your CA for an end-entity certificate (basic constraints CA:FALSE)"
    if basic is not None and basic.ca:
        return fail("not-a-ca", "it is the certificate of a CA, not of a device", ask)
    if usage is not None and usage.key_cert_sign:
        return fail("not-a-ca", "its key usage lets it sign certificates", ask)
    return ok("not-a-ca", "it is no CA")


def check_usage(leaf: x509.Certificate, role: str) -> Verdict:
    """Key usage and extended key usage against the role (RFC 5280, 4.2.1.3 and 4.2.1.12)."""
    usage, allowed = usages(leaf), purposes(leaf)
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


def check_algorithms(path: Path) -> Verdict:
    """Signatures and keys of the whole chain; an anchor's own signature is never looked at."""
    for certificate in path.certificates:
        weak = None if certificate == path.anchor else _weak_signature(certificate)
        if weak:
            return _too_weak(certificate, weak)
    for certificate in (*path.certificates, *path.issuers):
        weak = _weak_key(certificate)
        if weak:
            return _too_weak(certificate, weak)
    return ok("algorithms", "signatures and keys are strong enough")


def check_authority(path: Path) -> Verdict:
    """The authority key identifier (RFC 5280, 4.2.1.1)."""
    for certificate in path.certificates:
        if _has_authority(certificate) or is_self_signed(certificate):
            continue
        return warn(
            "authority-key-identifier",
            f"'{name_text(certificate.subject)}' has no authority key identifier: "
            "Python 3.13 and others refuse such a chain",
            "ask your CA to add it (OpenSSL: authorityKeyIdentifier = keyid)",
        )
    return ok("authority-key-identifier", "it names the CA's key")


def check_trust(anchors: Sequence[x509.Certificate], now: datetime) -> Verdict:
    """Are there anchors, and will others take them as such?"""
    if not anchors:
        return fail(
            "trust",
            "no trust anchor is given and none is installed",
            "add your CA's root certificate: --trust FILE",
        )
    first = name_text(anchors[0].subject)
    for anchor in anchors:
        name = name_text(anchor.subject)
        if anchor.not_valid_after_utc < now:
            text = f"the trust anchor '{name}' expired {moment(anchor.not_valid_after_utc)}"
            return warn("trust", text, "ask your CA for its new root certificate")
        if not is_self_signed(anchor):
            return warn(
                "trust",
                f"the trust anchor '{name}' is no root: OpenSSL and Python before 3.13 only trust "
                "a chain that ends at a root",
                "add the root's certificate to the --trust FILE",
            )
    if len(anchors) == 1:
        return ok("trust", f"trusts '{first}', SHA-256 {fingerprint(anchors[0])}")
    return ok("trust", f"trusts '{first}' and {len(anchors) - 1} more")


def check_chain(
    path: Path,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    role: str,
    now: datetime,
) -> Verdict:
    """From the leaf to a trust anchor, as a peer with the same anchors would verify it."""
    leaf = path.certificates[0]
    # The leaf's own dates have their verdict; the rest is judged at a moment when it is valid.
    when = max(leaf.not_valid_before_utc, min(now, leaf.not_valid_after_utc))
    roles = roles_of(role)
    reasons = list(_refusals(path, others, anchors, roles, when, strict=True)) if anchors else []
    if anchors and not reasons:
        return ok("chain", _chain_text(path))
    fault = find_fault(path, others, anchors, roles, when)
    if fault:
        return fail("chain", fault.text, fault.remedy)
    relaxed = list(_refusals(path, others, anchors, roles, when, strict=False))
    if relaxed and needs_verifier(path):
        return fail("chain", relaxed[0], "ask your CA for a chain without this constraint")
    return warn(
        "chain",
        f"{_chain_text(path)}; strict verifiers refuse it: {reasons[0]}",
        "ask your CA for certificates that follow RFC 5280, or test with every peer you have",
    )


def _refusals(
    path: Path,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    roles: Sequence[str],
    when: datetime,
    *,
    strict: bool,
) -> Iterator[str]:
    for role in roles:
        reason = verify(path, others, anchors, role, when, strict=strict)
        if reason:
            yield reason


def _chain_text(path: Path) -> str:
    names = [name_text(one.subject) for one in path.issuers]
    return f"it leads to a trust anchor by way of {', '.join(names)}" if names else "it is trusted"


def _too_weak(certificate: x509.Certificate, why: str) -> Verdict:
    return fail(
        "algorithms",
        f"'{name_text(certificate.subject)}' {why}",
        f"ask your CA for SHA-256 or better and RSA keys of at least {RSA_BITS} bits",
    )


def _weak_signature(certificate: x509.Certificate) -> str | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        oid = certificate.signature_algorithm_oid.dotted_string
        return f"is signed with an unknown algorithm ({oid})"
    if isinstance(algorithm, (hashes.MD5, hashes.SHA1)):
        return f"is signed with {algorithm.name.upper()}, which is broken"
    return None


def _weak_key(certificate: x509.Certificate) -> str | None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS:
        return f"has an RSA key of {key.key_size} bits, which is too short"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < EC_BITS:
        return f"has a key on a curve of {key.key_size} bits, which is too short"
    return None


def _has_authority(certificate: x509.Certificate) -> bool:
    try:
        certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return False
    return True
