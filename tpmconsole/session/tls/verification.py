"""Explain which certificate of a chain OpenSSL refused, and why."""

from __future__ import annotations

import ssl

from tpmconsole import clock
from tpmconsole.errors import Action, ConsoleError, NextStep, Remedy
from tpmconsole.session.tls.certificates import (
    alternative_names,
    identified,
    is_self_issued,
    issuer,
    subject,
)
from tpmconsole.session.tls.peer import Peer
from tpmconsole.session.tls.refused import Link, RefusedCertificateError, issuer_name

BAD_SIGNATURE = 7
_NO_ISSUER = (2, 20, 21)
_NAME_MISMATCH = (62, 64)
_ABOUT_DATES = (9, 10)
_EXPIRED, _WRONG_USE = 10, 26

_ADD_ITS_CA = NextStep(Action.ADD_TRUST, text="if you trust it, add its CA: {}")
_CLOCK = "check the board's clock (date); if it is right, the certificate's owner must renew it"
_ASK_CA = "ask its CA for another certificate"
_ASK_OWNER = "ask its operator for another certificate"

# X509_V_ERR_* (openssl/x509_vfy.h): what is wrong with the certificate, what to do
WORDS: dict[int, tuple[str, Remedy]] = {
    3: (
        "there is no revocation list (CRL) of the CA that issued {}",
        NextStep(
            Action.RELOAD, text="add that CA's list to the file, then reload the session ({})"
        ),
    ),
    7: ("the signature of {} does not verify", _ASK_OWNER),
    9: ("{} is not valid yet", _CLOCK),
    10: ("{} has expired", _CLOCK),
    12: (
        "the revocation list (CRL) for {} has expired, so it may have been revoked",
        NextStep(Action.RELOAD, text="fetch a new one from its CA, then reload the session ({})"),
    ),
    18: ("{} is self-signed and is not among our trust anchors", _ADD_ITS_CA),
    19: ("its chain ends in a root that is not among our trust anchors", _ADD_ITS_CA),
    22: ("its chain is too long", _ASK_OWNER),
    23: ("{} has been revoked", _ASK_OWNER),
    24: ("{} is not allowed to sign others", _ASK_CA),
    25: ("{} allows fewer CAs below it than its chain has", _ASK_CA),
    26: ("{} was not issued for this use", "ask its CA for the right usages"),
    32: ("{} is not allowed to sign others", _ASK_CA),
    34: ("{} has a critical extension that OpenSSL does not know", _ASK_CA),
    47: ("the names in {} are not among those that its CA may certify", _ASK_CA),
    48: ("the names in {} are among those that its CA must not certify", _ASK_CA),
    66: ("the key of {} is too weak", "ask its CA for a stronger one"),
    67: ("the key of {} is too weak", "ask its CA for a stronger one"),
    68: ("the signature of {} uses a broken hash", "ask its CA for a new chain"),
}

# The same codes for our own certificate, as a peer would check it.
OURS: dict[int, tuple[str, Remedy]] = {
    9: ("{} is not valid yet", "check the board's clock (date), or wait until it is"),
    10: (
        "{} has expired",
        NextStep(Action.RENEW, text="renew it ({}), or check the board's clock (date)"),
    ),
    26: (
        "{} was not issued for this role",
        NextStep(
            Action.USE_ROLE, "", "use an identity made for this role, or request one {} or both"
        ),
    ),
    66: ("the key of {} is too weak", "make a new identity with a stronger key"),
    68: ("{} was signed with a broken hash", "ask the CA for a new one"),
}
_NEW_CHAIN = NextStep(
    Action.IMPORT, text="import our certificate again with its CA's new chain: {}"
)


def not_trusted(error: ssl.SSLCertVerificationError, peer: Peer) -> ConsoleError:
    """Return the error that says why a peer's certificate was refused."""
    link = error.link if isinstance(error, RefusedCertificateError) else None
    told = f": {identified(link.certificate)}" if link else ""
    code = error.verify_code
    if code in _NAME_MISMATCH:
        return ConsoleError(
            "Wrong name",
            f"the certificate of {peer} {_names(link)}; its common name does not count{told}",
            "connect by a DNS name or address that is among its alternative names",
        )
    if code in _ABOUT_DATES and (no_clock := clock.fault(clock.now())):
        return ConsoleError("Peer not trusted", f"{peer}: {no_clock}", clock.SET_IT)
    cause, remedy = _no_issuer(error, link, peer) if code in _NO_ISSUER else _words(error, link)
    return ConsoleError("Peer not trusted", f"{peer}: {cause}{told}", remedy)


def own_certificate_refused(error: ssl.SSLCertVerificationError, role: str) -> ConsoleError:
    """Return the error that says why every peer would refuse our own certificate.

    Args:
        role: the session's: ``client`` or ``server``.
    """
    link = error.link if isinstance(error, RefusedCertificateError) else None
    above = link is not None and link.depth > 0
    which = "the CA certificate above it in our chain" if above else "it"
    code = error.verify_code
    remedy: Remedy
    cause, remedy = OURS.get(
        code,
        (
            error.verify_message or "it does not verify",
            NextStep(Action.CHECK_CERTIFICATE, text="look at it: {}"),
        ),
    )
    if above and code in (_EXPIRED, 66, 68):
        remedy = _NEW_CHAIN
    elif code == _WRONG_USE:
        remedy = NextStep(
            Action.USE_ROLE, role, "use an identity made for this role, or request one {} or both"
        )
    told = f": {identified(link.certificate)}" if link else ""
    return ConsoleError(
        "Certificate refused",
        f"every peer would refuse our certificate: {cause.replace('{}', which)}{told}",
        remedy,
    )


def _which(link: Link | None) -> str:
    if link is None:
        return "a certificate of its chain"
    if link.depth == 0:
        return "its certificate"
    kind = "root" if is_self_issued(link.certificate) else "intermediate"
    return f"the {kind} CA certificate of its chain"


def _names(link: Link | None) -> str:
    if link is None:
        return "does not name this host"
    names = alternative_names(link.certificate)
    return f"is only for {names}" if names else "names no host"


def _words(error: ssl.SSLCertVerificationError, link: Link | None) -> tuple[str, Remedy]:
    cause, remedy = WORDS.get(
        error.verify_code,
        (f"{{}} does not verify ({error.verify_message or 'OpenSSL gives no reason'})", _ASK_CA),
    )
    return cause.replace("{}", _which(link)), remedy


def _no_issuer(
    error: ssl.SSLCertVerificationError, link: Link | None, peer: Peer
) -> tuple[str, Remedy]:
    """OpenSSL does not say whether the name or the key identifier of an issuer was missing."""
    if link is None or not isinstance(error, RefusedCertificateError):
        return (
            "its certificate was issued by an authority that is not among our trust anchors, "
            "or its authority key identifier names another key of that authority",
            _ADD_ITS_CA,
        )
    which, above = _which(link), issuer(link.certificate)
    if error.is_issuer_trusted():
        return (
            f"{which} was issued by another key of {above} than our trust anchor of that name has",
            NextStep(Action.ADD_TRUST, text="if you trust it, add that CA's new certificate: {}"),
        )
    if issuer_name(link.certificate) in [one.subject for one in peer.ours[1:]]:
        return (
            f"it did not send its whole chain: the certificate of {above} is missing",
            "configure it to send the intermediate CAs' certificates after its own",
        )
    if link.depth == 0:
        return (
            f"{which} was issued by {above}, whose certificate it did not send, and which is not "
            "among our trust anchors",
            NextStep(
                Action.ADD_TRUST,
                text="configure it to send its whole chain; or, if you trust that CA, add it: {}",
            ),
        )
    return (
        f"its chain ends at {subject(link.certificate)}, issued by {above}, an authority that is "
        "not among our trust anchors",
        _ADD_ITS_CA,
    )
