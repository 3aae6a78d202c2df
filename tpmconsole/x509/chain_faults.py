"""Explain what is wrong with a chain: verifiers say little more than no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from tpmconsole.clock import moment
from tpmconsole.errors import Action, NextStep, Remedy
from tpmconsole.x509.chain import PURPOSES, ChainPath
from tpmconsole.x509.links import (
    is_self_issued,
    is_self_signed,
    is_signed_by,
    names_another_key,
    same_name,
)
from tpmconsole.x509.name_constraints import constraint_fault
from tpmconsole.x509.names import basic_constraints, fingerprint, key_usage, name_text, purposes

# The extensions that OpenSSL 3.0 handles if they are critical. The key identifiers are not among
# them, and must not be critical (RFC 5280, 4.2.1.1 and 4.2.1.2).
_HANDLED = {
    "2.16.840.1.113730.1.1",  # Netscape's certificate type
    "1.3.6.1.5.5.7.48.1.5",  # id-pkix-ocsp-nocheck
    ExtensionOID.KEY_USAGE.dotted_string,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string,
    ExtensionOID.BASIC_CONSTRAINTS.dotted_string,
    ExtensionOID.CERTIFICATE_POLICIES.dotted_string,
    ExtensionOID.CRL_DISTRIBUTION_POINTS.dotted_string,
    ExtensionOID.EXTENDED_KEY_USAGE.dotted_string,
    ExtensionOID.POLICY_CONSTRAINTS.dotted_string,
    ExtensionOID.NAME_CONSTRAINTS.dotted_string,
    ExtensionOID.POLICY_MAPPINGS.dotted_string,
    ExtensionOID.INHIBIT_ANY_POLICY.dotted_string,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What breaks a chain, and the remedy."""

    text: str
    remedy: Remedy


def find_fault(
    path: ChainPath,
    everything: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    roles: Sequence[str],
    when: datetime,
) -> Fault | None:
    """Find the first fault of a path for which OpenSSL would refuse it, too.

    Args:
        everything: all certificates that the path was chosen from, including the anchors.
        anchors: the trusted certificates.
        roles: ``client``, ``server``.
        when: the moment at which all certificates must be valid.
    """
    if path.anchor is None:
        return _no_anchor(path, everything)
    ended = path.certificates[0].not_valid_after_utc <= when  # then judged at its last second
    over = when - timedelta(seconds=1) if ended else when
    below = 0  # intermediates: RFC 5280, 4.2.1.9 does not count those that renew their own name
    for issuer in path.issuers:
        fault = _invalid(issuer, when, over) or _no_ca(issuer, below) or _not_for(issuer, roles)
        if fault:
            return fault
        below += not is_self_issued(issuer)
    whole = (*path.certificates[:1], *path.issuers)
    if unknown := next((one for one in map(_not_handled, whole) if one), None):
        return Fault(unknown, "ask your CA for a certificate without it, or with it not critical")
    if forbidden := constraint_fault(whole):
        remedy = "ask your CA for a chain whose constraints allow this certificate"
        return Fault(forbidden, remedy)
    return _mistaken(path, anchors, when)


def unknown_ca(path: ChainPath, everything: Sequence[x509.Certificate]) -> x509.Name | None:
    """Return the CA that a path ends at if all that is missing is trust in it.

    Args:
        everything: all certificates that the path was chosen from, including the anchors.
    """
    top = path.certificates[-1]
    if path.anchor is not None or path.not_named is not None:
        return None
    if is_self_signed(top):
        return top.subject if len(path.certificates) > 1 else None
    wrong_key = any(same_name(one.subject, top.issuer) for one in everything if one != top)
    return None if wrong_key else top.issuer


def judged_at(leaf: x509.Certificate, now: datetime) -> datetime:
    """Return a moment when the leaf is valid: its own dates have a verdict apart from the chain."""
    return max(leaf.not_valid_before_utc, min(now, leaf.not_valid_after_utc))


def _mistaken(path: ChainPath, anchors: Sequence[x509.Certificate], when: datetime) -> Fault | None:
    """Find a link where OpenSSL takes the wrong trust anchor as the issuer and then fails.

    OpenSSL looks among the anchors first, by name and key identifier. It verifies signatures only
    after the chain is built, and does not look for another issuer then.
    """
    for child, issuer in zip(path.certificates, path.certificates[1:], strict=False):
        for anchor in anchors:
            if (
                anchor.not_valid_before_utc <= when < anchor.not_valid_after_utc
                and same_name(anchor.subject, child.issuer)
                and not names_another_key(child, anchor)
                and not is_signed_by(child, anchor)
            ):
                name = name_text(child.subject)
                return Fault(
                    f"'{name}' does not say which key of '{name_text(issuer.subject)}' signed it, "
                    "and a trust anchor of that name has another key: OpenSSL uses that one",
                    "ask your CA to add key identifiers (OpenSSL: authorityKeyIdentifier = keyid), "
                    "or trust the intermediate CA itself",
                )
    return None


def _not_handled(certificate: x509.Certificate) -> str | None:
    """RFC 5280, 4.2: a certificate with an unknown critical extension must be refused."""
    for one in certificate.extensions:
        if one.critical and one.oid.dotted_string not in _HANDLED:
            name = name_text(certificate.subject)
            which = one.oid.dotted_string
            return f"'{name}' has a critical extension that OpenSSL does not handle ({which})"
    return None


def _no_anchor(path: ChainPath, everything: Sequence[x509.Certificate]) -> Fault:
    top = path.certificates[-1]
    if is_self_signed(top):
        return Fault(
            f"the bundle's root '{name_text(top.subject)}' (SHA-256 {fingerprint(top)}) is not "
            "a trust anchor; a root is not trusted just because it came with the certificate",
            NextStep(
                Action.GIVE_TRUST,
                text="compare the fingerprint with the one your CA publishes, then add {}",
            ),
        )
    issuer = name_text(top.issuer)
    if path.not_named is not None:
        return another_key_named(top, path.not_named)
    if unknown_ca(path, everything) is None:
        return Fault(
            f"'{name_text(top.subject)}' was not signed with the key of the given '{issuer}': the "
            "CA has another certificate of that name, or this one is damaged",
            f"get the certificate of '{issuer}' that signed this one from your CA",
        )
    return Fault(
        f"the CA '{issuer}', which signed '{name_text(top.subject)}', is not trusted here yet",
        NextStep(
            Action.GIVE_TRUST,
            text="if it is your CA's root, compare its fingerprint and add {}; "
            "if it is an intermediate CA, add its certificate to the files you import",
        ),
    )


def another_key_named(child: x509.Certificate, issuer: x509.Certificate) -> Fault:
    """Describe a link that OpenSSL does not recognize (RFC 5280, 4.2.1.1)."""
    name, above = name_text(child.subject), name_text(issuer.subject)
    return Fault(
        f"the authority key identifier of '{name}' names another key or certificate, not that of "
        f"the CA '{above}', which signed it: OpenSSL and others find no issuer",
        f"ask your CA for the certificate of '{above}' that it names, "
        "or have the certificate issued again",
    )


def _invalid(issuer: x509.Certificate, when: datetime, over: datetime) -> Fault | None:
    name = name_text(issuer.subject)
    begin, end = issuer.not_valid_before_utc, issuer.not_valid_after_utc
    if end <= over:  # OpenSSL counts the last second as expired
        return Fault(f"the CA '{name}' expired {moment(end)}", _ask_for(name))
    if begin > when:
        remedy = f"check the board's clock; if it is right, {_ask_for(name)}"
        return Fault(f"the CA '{name}' is not valid before {moment(begin)}", remedy)
    return None


def _no_ca(issuer: x509.Certificate, below: int) -> Fault | None:
    """RFC 5280, 4.2.1.9; ``below`` is the number of intermediates between it and the leaf."""
    name = name_text(issuer.subject)
    basic, usage = basic_constraints(issuer), key_usage(issuer)
    # A root of X.509 version 1 has no extensions at all; OpenSSL accepts it as a CA.
    old_root = issuer.version is x509.Version.v1 and is_self_signed(issuer)
    if not old_root and (basic is None or not basic.ca):
        text = f"'{name}' signed a certificate but is not a CA (basic constraints)"
        return Fault(text, _ask_for(name))
    if usage is not None and not usage.key_cert_sign:
        text = f"the key usage of the CA '{name}' does not allow it to sign certificates"
        return Fault(text, _ask_for(name))
    if basic is not None and basic.path_length is not None and below > basic.path_length:
        text = f"the CA '{name}' allows {basic.path_length} CAs below it, but there are {below}"
        return Fault(text, _ask_for(name))
    return None


def _not_for(issuer: x509.Certificate, roles: Sequence[str]) -> Fault | None:
    name, allowed = name_text(issuer.subject), purposes(issuer)
    for role in roles:
        if allowed is not None and PURPOSES[role] not in allowed:
            text = f"the extended key usage of the CA '{name}' does not allow a {role}"
            return Fault(text, _ask_for(name))
    return None


def _ask_for(name: str) -> str:
    return f"ask your CA for a chain with a working certificate of '{name}'"
