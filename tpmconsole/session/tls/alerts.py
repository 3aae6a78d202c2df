"""Explain alerts from a peer (RFC 8446, 6.2), after comparing them with what we know."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tpmconsole import clock
from tpmconsole.errors import Action, ConsoleError, NextStep, Remedy
from tpmconsole.session.tls.certificates import identified, issuer, key_kind, serves
from tpmconsole.session.tls.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

_Words = tuple[str, Remedy]

# What the peer means, what to do
WORDS: dict[str, _Words] = {
    "UNKNOWN_CA": (
        "our certificate is unknown to it: its trust anchors lack the CA that issued it, "
        "or hold another certificate or key of that name",
        "give it that CA's certificate, or import one from a CA that it trusts",
    ),
    "BAD_CERTIFICATE": ("our certificate is damaged or badly signed", "look at its log"),
    "UNSUPPORTED_CERTIFICATE": (
        "our certificate is of a kind it does not accept",
        "ask which keys and usages it wants",
    ),
    "CERTIFICATE_REVOKED": (
        "our certificate, or the CA above it, has been revoked",
        NextStep(Action.RENEW, text="ask the CA why; then renew it ({}), best with a new key"),
    ),
    "CERTIFICATE_EXPIRED": ("our certificate has expired", "request a new one"),
    "CERTIFICATE_UNKNOWN": (
        "it does not accept our certificate and gives no reason",
        "look at its log",
    ),
    "CERTIFICATE_REQUIRED": ("it wants a certificate and got none", "give one"),
    "HANDSHAKE_FAILURE": (
        "we have no TLS version, cipher or kind of key in common, or it wants a certificate",
        "compare both sides' TLS settings",
    ),
    "PROTOCOL_VERSION": (
        "it does not support the TLS versions that we allow",
        NextStep(Action.ALLOW_TLS, "1.2", "allow TLS 1.2 ({}), or update it"),
    ),
    "INSUFFICIENT_SECURITY": ("our ciphers are too weak for it", "allow TLS 1.3"),
    "INTERNAL_ERROR": ("it has an internal problem", "look at its log"),
    "DECRYPT_ERROR": (
        "it could not verify our signature",
        NextStep(
            Action.CHECK_CERTIFICATE, text="check that our certificate belongs to our key ({})"
        ),
    ),
    "ACCESS_DENIED": ("our certificate is fine, but not allowed there", "ask its operator"),
    "UNRECOGNIZED_NAME": ("it does not serve the host name that we asked for", "check the name"),
    "NO_APPLICATION_PROTOCOL": ("it uses another protocol", "check host and port"),
}
_ABOUT_OURS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")


def refused_us(alert: str, peer: Peer) -> ConsoleError:
    """Return the error that explains an alert.

    Args:
        alert: its name, such as ``CERTIFICATE_EXPIRED``.
    """
    cause, remedy = WORDS.get(
        alert, (f"it ended the handshake ({alert.replace('_', ' ').lower()})", "look at its log")
    )
    compared = _COMPARED.get(alert)
    if peer.ours and compared is not None:
        cause, remedy = compared(peer)
    told = ""
    if peer.ours and any(word in alert for word in _ABOUT_OURS):
        told = f"; ours is {identified(peer.ours[0])}"
    return ConsoleError("Peer refused us", f"{peer} says: {cause}{told}", remedy)


def _unknown_ca(peer: Peer) -> _Words:
    top = peer.ours[-1]
    alone = len(peer.ours) == 1
    what = "it" if alone else "the last certificate of the chain that we send"
    return (
        f"our certificate is unknown to it: its trust anchors lack {issuer(top)}, which issued "
        f"{what}, or hold another certificate or key of that name",
        "give it that CA's certificate"
        + (
            ", or import ours with its chain if that is an intermediate CA"
            if alone
            else ", or import one from a CA that it trusts"
        ),
    )


def _expired(peer: Peer) -> _Words:
    says = "our certificate has expired"
    when = clock.now()
    if no_clock := clock.fault(when):
        return f"{says}; we cannot tell: {no_clock}", clock.SET_IT
    ended = [one for one in peer.ours if one.not_valid_after_utc < when]
    if not ended:
        last = min(peer.ours, key=_end)
        return (
            f"{says}, but by our clock it is valid for {_days(last.not_valid_after_utc - when)}",
            "check its clock, and whether its CA's certificate or revocation list has expired",
        )
    if ended[0] is peer.ours[0]:
        return f"{says}, and it has", NextStep(Action.RENEW, text="renew it ({})")
    return (
        f"{says}: not our own, but that of an intermediate CA that we send: {identified(ended[0])}",
        NextStep(Action.IMPORT, text="import our certificate again with its CA's new chain: {}"),
    )


def _bad(peer: Peer) -> _Words:
    when = clock.now()
    if no_clock := clock.fault(when):
        return f"it does not accept our certificate; we cannot tell why: {no_clock}", clock.SET_IT
    begins = peer.ours[0].not_valid_before_utc
    if begins > when:
        return (
            f"our certificate is bad: it is not valid before {clock.moment(begins)}",
            "wait until then, or check the board's clock (date)",
        )
    name = ", the name it knows us by is not in it" if peer.our_role == "server" else ""
    return (
        "our certificate is bad, but it verifies here with its key",
        f"look at its log: its clock may be behind{name}, or our key is too weak for it "
        f"({key_kind(peer.ours[0])})",
    )


def _unsupported(peer: Peer) -> _Words:
    role = peer.our_role
    if not serves(peer.ours[0], role):
        return (
            f"it does not accept our certificate, which was not issued for a {role}",
            NextStep(
                Action.USE_ROLE,
                role,
                "use an identity made for this role, or request one {} or both",
            ),
        )
    return (
        f"it does not accept the kind of our certificate, which was issued for a {role}; "
        f"its key is {key_kind(peer.ours[0])}",
        "ask which keys and usages it wants",
    )


def _required(peer: Peer) -> _Words:
    return (
        f"it wants a certificate, and accepts no signature that ours (key {key_kind(peer.ours[0])})"
        " can make",
        "use a key of another kind (EC P-256 is accepted nearly everywhere)",
    )


_COMPARED: dict[str, Callable[[Peer], _Words]] = {
    "UNKNOWN_CA": _unknown_ca,
    "CERTIFICATE_EXPIRED": _expired,
    "BAD_CERTIFICATE": _bad,
    "UNSUPPORTED_CERTIFICATE": _unsupported,
    "CERTIFICATE_REQUIRED": _required,
}


def _end(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def _days(left: timedelta) -> str:
    return f"{left.days} days" if left.days > 1 else f"{left.total_seconds() / 3600:.0f} hours"
