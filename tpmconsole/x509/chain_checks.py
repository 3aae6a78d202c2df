"""The checks on a certificate's chain. Each returns ok, warn or fail, the reason and a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from tpmconsole.clock import moment
from tpmconsole.errors import Action, NextStep
from tpmconsole.finding import Finding, fail, ok, warn
from tpmconsole.x509.chain import (
    ChainPath,
    find_path,
    may_be_trusted,
    roles_of,
    verify,
)
from tpmconsole.x509.chain_faults import another_key_named, find_fault, judged_at
from tpmconsole.x509.der import has_explicit_curve
from tpmconsole.x509.links import broken_hash, is_self_signed, same_bytes, unknown_hash
from tpmconsole.x509.names import extension, fingerprint, name_text

# The minimum that OpenSSL accepts at security level 2, Debian's default.
RSA_BITS = 2048
EC_BITS = 224

REMOVE_ANCHOR = NextStep(Action.REMOVE_TRUST, text="remove it ({})")
_SAME_SPELLING = (
    "ask your CA to write the issuer as in its own certificate, or try it with every peer"
)
_ADD_TRUST = NextStep(Action.GIVE_TRUST, text="add your CA's root certificate: {}")


def check_algorithms(path: ChainPath) -> Finding:
    """Check the keys and signatures of the whole chain, except the signature of the anchor."""
    for certificate in (*path.certificates, *path.issuers):
        weak = _weak_key(certificate)
        if certificate != path.anchor:
            weak = weak or _bad_signature(certificate)
        if weak:
            return fail(
                f"'{name_text(certificate.subject)}' {weak}",
                f"ask your CA for SHA-256 to SHA-512, named curves and RSA keys of {RSA_BITS} bits "
                "or more",
                name="algorithms",
            )
    return ok("signatures and keys are strong enough", name="algorithms")


def check_authority(path: ChainPath) -> Finding:
    """Check the key identifiers of all issuers and CAs (RFC 5280, 4.2.1.1 and 4.2.1.2).

    OpenSSL's strict mode, which Python 3.13 switches on, requires them. If one names another key,
    every OpenSSL looks for another CA.
    """
    if path.not_named is not None:
        fault = another_key_named(path.certificates[-1], path.not_named)
        return fail(fault.text, fault.remedy, name="authority-key-identifier")
    missing = [
        f"'{name_text(one.subject)}' has no authority key identifier"
        for one in path.certificates
        if extension(one, x509.AuthorityKeyIdentifier) is None and not is_self_signed(one)
    ] + [
        f"the CA '{name_text(one.subject)}' has no subject key identifier"
        for one in path.issuers
        if extension(one, x509.SubjectKeyIdentifier) is None
    ]
    if not missing:
        return ok("every certificate names its CA's key", name="authority-key-identifier")
    return warn(
        f"{missing[0]}: Python 3.13 and others refuse such a chain",
        "ask your CA to add key identifiers (OpenSSL: authorityKeyIdentifier = keyid)",
        name="authority-key-identifier",
    )


def check_trust(
    anchors: Sequence[x509.Certificate], now: datetime, added: Sequence[x509.Certificate] = ()
) -> Finding:
    """Check that there are trust anchors, and that other verifiers accept them.

    Args:
        added: the anchors that are not trusted yet.
    """
    if not anchors:
        return fail("no trust anchor is given and none is installed", _ADD_TRUST, name="trust")
    for one in added:
        if not may_be_trusted(one):
            text = f"'{name_text(one.subject)}' cannot be trusted: not a CA certificate"
            return fail(text, _ADD_TRUST, name="trust")
    for anchor in anchors:
        name = name_text(anchor.subject)
        if not may_be_trusted(anchor):
            text = f"the trust anchor '{name}' is not a CA certificate"
            return warn(text, REMOVE_ANCHOR, name="trust")
        if anchor.not_valid_after_utc < now:
            text = f"the trust anchor '{name}' expired {moment(anchor.not_valid_after_utc)}"
            return warn(text, "ask your CA for its new root certificate", name="trust")
        if not _ends_at_root(anchor, anchors, now):
            return warn(
                f"the trust anchor '{name}' is not a root: OpenSSL, and Python before 3.13, "
                "trust only chains that end at a root",
                NextStep(Action.GIVE_TRUST, text="add the root's certificate: {}"),
                name="trust",
            )
    names = [f"'{name_text(one.subject)}' (SHA-256 {fingerprint(one)})" for one in anchors[:2]]
    more = f" and {len(anchors) - 2} more" if len(anchors) > 2 else ""
    return ok(f"trusts {', '.join(names)}{more}", name="trust")


def _ends_at_root(
    anchor: x509.Certificate, anchors: Sequence[x509.Certificate], now: datetime
) -> bool:
    """Whether an anchor is a root, or leads to one among the anchors."""
    roots = [one for one in anchors if is_self_signed(one)]
    others = [one for one in anchors if one != anchor]
    return anchor in roots or find_path(anchor, others, roots, now).anchor is not None


def check_chain(
    path: ChainPath,
    everything: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    role: str,
    now: datetime,
) -> Finding:
    """Verify the path from the leaf to a trust anchor, as a peer with the same anchors would.

    Two sets of rules apply: those of OpenSSL, which most peers use, and those of cryptography's
    verifier, which is as strict as a browser. If only the latter refuses, it is a warning.

    Args:
        everything: all certificates that the path was chosen from.
    """
    leaf = path.certificates[0]
    when = judged_at(leaf, now)
    roles = roles_of(role)
    if not anchors and not is_self_signed(path.certificates[-1]):
        return fail("there is no trust anchor for it", _ADD_TRUST, name="chain")
    fault = find_fault(path, everything, anchors, roles, when)
    if fault:
        return fail(fault.text, fault.remedy, name="chain")
    if spelt := _written_otherwise(path):
        return warn(f"{_way(path)}; {spelt}", _SAME_SPELLING, name="chain")
    reasons = (verify(path, anchors, role, when) for role in roles)
    strict = next((reason for reason in reasons if reason), None)
    if strict is None:
        return ok(_way(path), name="chain")
    return warn(
        f"{_way(path)}; strict verifiers refuse it: {strict}",
        "ask your CA for certificates that follow RFC 5280, or try it with every peer",
        name="chain",
    )


def _written_otherwise(path: ChainPath) -> str | None:
    """Find a name that is equal under RFC 5280, 7.1 but encoded in another way: many peers
    compare the bytes."""
    above = (*path.certificates[1:], *([path.anchor] if path.anchor else ()))
    for child, issuer in zip(path.certificates, above, strict=False):
        if not same_bytes(child.issuer, issuer.subject):
            return (
                f"'{name_text(child.subject)}' encodes the name of the CA "
                f"'{name_text(issuer.subject)}' in another way (string type, case or spaces): "
                "OpenSSL accepts it; Go and other strict peers refuse it"
            )
    return None


def _way(path: ChainPath) -> str:
    names = [f"'{name_text(one.subject)}'" for one in path.issuers]
    if not names:
        return "it is a trust anchor itself"
    between = f" through {', '.join(names[:-1])}" if len(names) > 1 else ""
    return f"it leads to the trust anchor {names[-1]}{between}"


def _bad_signature(certificate: x509.Certificate) -> str | None:
    if broken := broken_hash(certificate):
        return f"is signed with {broken}, which is broken"
    if unknown := unknown_hash(certificate):
        return f"is signed with ECDSA and {unknown}, which OpenSSL 3.0 and TLS do not know"
    return None


def _weak_key(certificate: x509.Certificate) -> str | None:
    key = certificate.public_key()
    if has_explicit_curve(certificate):
        return "has a key that spells out its curve instead of naming it (RFC 5480, 2.1.1)"
    if isinstance(key, (rsa.RSAPublicKey, dsa.DSAPublicKey)) and key.key_size < RSA_BITS:
        kind = "an RSA" if isinstance(key, rsa.RSAPublicKey) else "a DSA"
        return f"has {kind} key of {key.key_size} bits, which is too short"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < EC_BITS:
        return f"has a key on a curve of {key.key_size} bits, which is too short"
    return None
