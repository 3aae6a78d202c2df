"""Compare a certificate with its key, its request and the certificate that it replaces."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tpmconsole.clock import moment
from tpmconsole.errors import Action, NextStep, Remedy
from tpmconsole.finding import Finding, fail, ok, warn
from tpmconsole.x509.names import general_names, key_bytes, name_text, purposes, san_entry
from tpmconsole.x509.schemes import PrivateKey, scheme_of, sign, verify

_NONCE_BYTES = 32
_NAMES_SHOWN = 5
_PURPOSE_WORDS = {
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
}


def check_possession(leaf: x509.Certificate, private_key: PrivateKey, fixed: str = "") -> Finding:
    """Let the key sign a nonce, and verify the signature with the certificate.

    Args:
        fixed: the only scheme that the key may use, such as ``RSAPSS SHA-256``; empty if any.

    Raises:
        ConsoleError: the key cannot sign: wrong password, or the TPM does not answer.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    scheme = scheme_of(private_key.public_key(), fixed)
    public = leaf.public_key()
    kinds = (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)
    try:
        if not isinstance(public, kinds):
            return _not_proved()
        verify(public, sign(private_key, nonce, scheme), nonce, scheme)
    except InvalidSignature:
        return _not_proved()
    return ok("the key signed a nonce that the certificate verifies", name="key-proof")


def not_tried() -> Finding:
    """Say that the key needs a password, which was not given."""
    return warn(
        "the key could not be tested: it needs its password",
        NextStep(Action.GIVE_KEY_PASSWORD, text="give its password to test it: {}"),
        name="key-proof",
    )


def check_origin(recorded: str, lacks: Sequence[str]) -> Finding:
    """Check whether the key was ever outside its TPM.

    Args:
        recorded: what identity.toml says: ``tpm``, ``imported`` or ``adopted``.
        lacks: the attributes among fixedTPM, fixedParent and sensitiveDataOrigin that the key
            does not have, according to the TPM.
    """
    if not lacks:
        return ok("the TPM made the key, and it never leaves it", name="key-origin")
    without = f"the TPM says: no {', no '.join(lacks)}"
    if recorded == "tpm":
        return fail(
            f"identity.toml says that the TPM made the key, but {without}",
            NextStep(Action.FORGET, text="forget it ({}), then make a key and certify it"),
            name="key-origin",
        )
    may = "existed" if recorded == "imported" else "may have existed"
    return warn(
        f"the key {may} outside the TPM ({without}): anyone with a copy can impersonate this board",
        NextStep(Action.CREATE, text="if that matters, make a key in the TPM: {}"),
        name="key-origin",
    )


def origin_not_asked(why: str, remedy: Remedy) -> Finding:
    """Say why the origin of the key is not known."""
    return warn(f"the origin of the key is not known: {why}", remedy, name="key-origin")


def check_request(leaf: x509.Certificate, request: x509.CertificateSigningRequest) -> Finding:
    """Compare the certificate with the request: a CA may change what was requested."""
    if key_bytes(request.public_key()) != key_bytes(leaf.public_key()):
        return ok("not compared: the stored request is for another key", name="request")
    changes = []
    if leaf.subject != request.subject:
        changes.append(f"subject {name_text(leaf.subject)} instead of {name_text(request.subject)}")
    asked, got = (
        set(map(san_entry, general_names(request))),
        set(map(san_entry, general_names(leaf))),
    )
    changes += _difference("SAN", asked, got)
    changes += _difference("usage", _purpose_words(request), _purpose_words(leaf))
    if not changes:
        return ok("it matches the request", name="request")
    return warn(
        f"the CA changed the request: {'; '.join(changes)}",
        "check that peers accept these names; if not, talk to your CA",
        name="request",
    )


def check_renewal(leaf: x509.Certificate, previous: x509.Certificate) -> Finding:
    """Compare the certificate with the one that it would replace."""
    if leaf == previous:
        return ok("it is already installed", name="renewal")
    old_end = previous.not_valid_after_utc
    if leaf.not_valid_after_utc <= old_end:
        return warn(
            f"the installed certificate is valid longer, until {moment(old_end)}",
            "check that this is the new certificate and not an old one",
            name="renewal",
        )
    changes = []
    if leaf.subject != previous.subject:
        changes.append(f"subject {name_text(leaf.subject)}, was {name_text(previous.subject)}")
    if leaf.issuer != previous.issuer:
        changes.append(f"issuer {name_text(leaf.issuer)}, was {name_text(previous.issuer)}")
    before = set(map(san_entry, general_names(previous)))
    changes += _difference("SAN", before, set(map(san_entry, general_names(leaf))))
    if changes:
        text = f"it differs from the one it replaces: {'; '.join(changes)}"
        return warn(
            text, "check that every peer knows the new names and the new CA", name="renewal"
        )
    return ok(f"it replaces the one that expires {moment(old_end)}", name="renewal")


def _not_proved() -> Finding:
    return fail(
        "the certificate does not verify the key's signature",
        NextStep(Action.SELF_TEST, text="run: {}; then make a new request with this key"),
        name="key-proof",
    )


def _purpose_words(owner: x509.Certificate | x509.CertificateSigningRequest) -> set[str]:
    return {_PURPOSE_WORDS.get(one, one.dotted_string) for one in purposes(owner) or ()}


def _difference(what: str, asked: set[str], got: set[str]) -> list[str]:
    parts = []
    if asked - got:
        parts.append(f"{what} without {_some(asked - got)}")
    if got - asked:
        parts.append(f"{what} with {_some(got - asked)} added")
    return parts


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
