"""Why TLS or the network refused, in words: what OpenSSL and the kernel say is for programmers."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass, replace

from tpmconsole import clock
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep, Remedy
from tpmconsole.session.tls.openssl import BridgeError

_ADD_ITS_CA = NextStep(Action.ADD_TRUST, text="where it is to be trusted, add its CA: {}")
# OpenSSL looks for an issuer by name and by the authority key identifier, and says no more.
_NO_ISSUER = (
    "its certificate was issued by an authority that is not among our trust anchors, "
    "or names another key of it in its authority key identifier"
)
_CLOCK = "check the board's clock (date) and the certificate's dates"

# X509_V_ERR_* (openssl/x509_vfy.h): what about the peer's certificate, what to do
_VERIFY: dict[int, tuple[str, Remedy]] = {
    7: ("its signature does not verify", "ask who runs it for its certificate"),
    9: ("its certificate is not valid yet", _CLOCK),
    10: ("its certificate has expired", _CLOCK),
    3: (
        "there is no revocation list (CRL) of the CA that issued its certificate",
        NextStep(
            Action.RELOAD, text="add that CA's list to the file, then reload the session ({})"
        ),
    ),
    12: (
        "the revocation list (CRL) has expired, so nobody knows whether it is revoked",
        NextStep(Action.RELOAD, text="fetch a new one from its CA, then reload the session ({})"),
    ),
    18: (
        "its certificate is signed by itself and is not among our trust anchors",
        _ADD_ITS_CA,
    ),
    19: (
        "its chain ends in a root that is not among our trust anchors",
        _ADD_ITS_CA,
    ),
    20: (_NO_ISSUER, _ADD_ITS_CA),
    21: (_NO_ISSUER, _ADD_ITS_CA),
    23: ("its certificate has been revoked", "ask who runs it for a new one"),
    24: ("its chain holds a certificate that may not sign others", "ask its CA"),
    26: ("its certificate was not issued for this use", "ask its CA for the right usages"),
    66: ("a key in its chain is too weak", "ask its CA for a stronger one"),
    67: ("the CA's key is too weak", "ask its CA for a stronger one"),
    68: ("a signature in its chain uses a hash that is broken", "ask its CA for a new chain"),
}
_NAME_MISMATCH = (62, 64)
_ABOUT_DATES = (9, 10)
_BAD_SIGNATURE = 7

# The same codes where it is our own certificate that a peer would judge.
_OURS: dict[int, tuple[str, Remedy]] = {
    9: ("it is not valid yet", "check the board's clock (date), or wait until it is"),
    10: (
        "it has expired",
        NextStep(Action.RENEW, text="renew it ({}), or check the board's clock (date)"),
    ),
    26: (
        "it was not issued for this role",
        NextStep(
            Action.USE_ROLE,
            "",
            "use an identity made for this role, or request one {} or both",
        ),
    ),
    66: ("its key is too weak", "make a new identity with a stronger key"),
    68: ("it was signed with a hash that is broken", "ask the CA for a new one"),
}

# Alerts that the peer sent (RFC 8446, 6.2): what it means by them, what to do
_ALERTS: dict[str, tuple[str, Remedy]] = {
    "UNKNOWN_CA": (
        "our certificate is unknown to it: its trust anchors lack {issuer}, which issued it, "
        "or hold another certificate or key of that name",
        "give it that CA's certificate, or import one from a CA that it trusts",
    ),
    "BAD_CERTIFICATE": ("our certificate is damaged or badly signed", "import it again"),
    "UNSUPPORTED_CERTIFICATE": (
        "our certificate is of a kind it does not accept",
        "ask which keys and usages it wants",
    ),
    "CERTIFICATE_REVOKED": ("our certificate has been revoked", "request a new one"),
    "CERTIFICATE_EXPIRED": ("our certificate has expired", "request a new one"),
    "CERTIFICATE_UNKNOWN": (
        "it does not accept our certificate, and does not say why",
        "look into its log",
    ),
    "CERTIFICATE_REQUIRED": ("it wants a certificate, and got none", "give one"),
    "HANDSHAKE_FAILURE": (
        "we have no TLS version, cipher or kind of key in common, or it wants a certificate",
        "compare both sides' TLS settings",
    ),
    "PROTOCOL_VERSION": (
        "it does not speak the TLS versions that we allow",
        NextStep(Action.ALLOW_TLS, "1.2", "allow TLS 1.2 ({}), or update it"),
    ),
    "INSUFFICIENT_SECURITY": ("our ciphers are too weak for it", "allow TLS 1.3"),
    "INTERNAL_ERROR": ("it has trouble of its own", "look into its log"),
    "DECRYPT_ERROR": (
        "it could not verify our signature",
        NextStep(
            Action.CHECK_CERTIFICATE, text="check that our certificate belongs to our key ({})"
        ),
    ),
    "ACCESS_DENIED": ("our certificate is fine, but not allowed there", "ask who runs it"),
    "UNRECOGNIZED_NAME": ("it does not serve the host name that we asked for", "check the name"),
    "NO_APPLICATION_PROTOCOL": ("it speaks another protocol", "check host and port"),
}

# OpenSSL's own reasons
_LOCAL: dict[str, tuple[str, Remedy]] = {
    "WRONG_VERSION_NUMBER": ("it does not speak TLS", "check the port"),
    "HTTP_REQUEST": ("it spoke HTTP without TLS", "use https:// instead of http://"),
    "HTTPS_PROXY_REQUEST": ("it wants a proxy", "connect directly"),
    "UNSUPPORTED_PROTOCOL": ("it offers only TLS versions that we do not allow", "update it"),
    "NO_PROTOCOLS_AVAILABLE": ("the TLS versions asked for exclude each other", "allow more"),
    "NO_SHARED_CIPHER": ("we have no cipher in common", "compare both sides' TLS settings"),
    "NO_SHARED_GROUPS": ("we have no curve in common", "compare both sides' TLS settings"),
    "NO_SUITABLE_SIGNATURE_ALGORITHM": (
        "it accepts no signature that our key can make",
        "use a key of another kind (EC P-256 is accepted nearly everywhere)",
    ),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "it showed no certificate, and we demand one",
        "give the client a certificate that our trust anchors accept",
    ),
    "UNEXPECTED_EOF_WHILE_READING": (
        "it closed the connection without a word",
        "look into its log; it may not accept our certificate",
    ),
    "LENGTH_MISMATCH": ("what it sent is no TLS", "check the port"),
    "UNEXPECTED_MESSAGE": ("what it sent is out of order", "look into its log"),
}


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom an error is about: ``the server`` or ``the client``, and its address.

    Attributes:
        issuer: who issued our certificate, which the peer may not know.
    """

    who: str
    address: str
    issuer: str = "the CA"

    def __str__(self) -> str:
        return f"{self.who} {self.address}"


def explain(error: BaseException, peer: Peer) -> ConsoleError:
    """What went wrong with a peer, for people."""
    if isinstance(error, ConsoleError):
        return error
    if isinstance(error, BridgeError):
        return ConsoleError(error.title, error.cause, error.remedy, ExitCode.REFUSED)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _not_trusted(error, peer)
    if isinstance(error, ssl.SSLError):
        return _tls(error, peer)
    if isinstance(error, (OSError, EOFError)):
        return _network(error, peer)
    return ConsoleError(
        "Something unexpected",
        f"{type(error).__name__} while talking to {peer}",
        "look into the session's log, and report it",
        ExitCode.UNEXPECTED,
    )


def is_about_trust(error: BaseException) -> bool:
    """Whether trying again without a change on either side is useless."""
    return isinstance(error, ssl.SSLError) and not isinstance(
        error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    )


def is_peers_doing(error: ssl.SSLError) -> bool:
    """Whether a handshake failed by what the peer sent, or did not send, and not by our key.

    A bad signature is open: tpm2-openssl before 1.2 verifies in the TPM, which may be gone.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_code != _BAD_SIGNATURE
    reason = getattr(error, "reason", None) or ""
    gone = isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError))
    return gone or "_ALERT_" in reason or reason in _LOCAL


def own_certificate_refused(error: ssl.SSLCertVerificationError, role: str) -> ConsoleError:
    """Our own certificate fails where a peer would verify it.

    Args:
        role: what the session is: ``client`` or ``server``.
    """
    cause, remedy = _OURS.get(
        error.verify_code,
        (
            error.verify_message or "it does not verify",
            NextStep(Action.CHECK_CERTIFICATE, text="look at it: {}"),
        ),
    )
    return ConsoleError(
        "Certificate refused",
        f"every peer would refuse our certificate: {cause}",
        _for_role(remedy, role),
    )


def renegotiation_refused(peer: Peer) -> ConsoleError:
    """A TLS 1.2 server that asks for a certificate only where a path demands it."""
    return ConsoleError(
        "Renegotiation refused",
        f"{peer} asks for a new handshake in the middle of a TLS 1.2 connection, as for a path "
        "that needs a certificate; we refuse that, and it gives up",
        "let it speak TLS 1.3, or ask for the certificate at the start of each connection",
    )


def _for_role(remedy: Remedy, role: str) -> Remedy:
    if isinstance(remedy, NextStep) and remedy.action is Action.USE_ROLE:
        return replace(remedy, subject=role)
    return remedy


def _not_trusted(error: ssl.SSLCertVerificationError, peer: Peer) -> ConsoleError:
    if error.verify_code in _NAME_MISMATCH:
        return ConsoleError(
            "Wrong name",
            f"the certificate of {peer} is for another host name, or for none: "
            "its common name does not count",
            "connect by a DNS name or address that is among its alternative names",
        )
    if error.verify_code in _ABOUT_DATES and (no_clock := clock.fault(clock.now())):
        return ConsoleError("Peer not trusted", f"{peer}: {no_clock}", clock.SET_IT)
    cause, remedy = _VERIFY.get(
        error.verify_code, (error.verify_message or "its certificate does not verify", "ask its CA")
    )
    return ConsoleError("Peer not trusted", f"{peer}: {cause}", remedy)


def _tls(error: ssl.SSLError, peer: Peer) -> ConsoleError:
    # Where Python itself makes the error there is no such attribute at all.
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLEOFError):
        reason = reason or "UNEXPECTED_EOF_WHILE_READING"
    if "_ALERT_" in reason:
        name = reason.partition("_ALERT_")[2]
        cause, remedy = _ALERTS.get(
            name, (f"it ended the handshake ({name.replace('_', ' ').lower()})", "look at its log")
        )
        cause = cause.replace("{issuer}", peer.issuer)
        return ConsoleError("Peer refused us", f"{peer} says: {cause}", remedy)
    if reason in _LOCAL:
        cause, remedy = _LOCAL[reason]
        return ConsoleError("TLS failed", f"{peer}: {cause}", remedy)
    words = reason.replace("_", " ").lower() or str(error)
    return ConsoleError("TLS failed", f"{peer}: OpenSSL says {words}", "look into both sides' logs")


_CLOSED = (
    "Connection closed",
    "it closed the connection before it was asked to",
    "look into its log",
)
_NOT_FOUND = (
    "Host not found",
    "there is no host of that name",
    "check the spelling and the board's name servers (/etc/resolv.conf), or use an address",
)
_ERRNO: dict[int, tuple[str, str, str]] = {
    errno.ECONNREFUSED: (
        "Connection refused",
        "nothing listens there",
        "check the port, and that the server runs",
    ),
    errno.ECONNRESET: ("Connection lost", "it broke the connection off", "look into its log"),
    errno.EPIPE: ("Connection lost", "it broke the connection off", "look into its log"),
    errno.EHOSTUNREACH: ("Host not reached", "no way leads there", "check cable and routes"),
    errno.ENETUNREACH: ("Host not reached", "no way leads there", "check cable and routes"),
    errno.ETIMEDOUT: (
        "No answer",
        "it does not answer in time",
        "check the network and the address",
    ),
    errno.EADDRINUSE: (
        "Port in use",
        "another program listens there already",
        "choose another port, or end that program (ss -ltnp names it)",
    ),
    errno.EADDRNOTAVAIL: (
        "No such address",
        "this board has no such address",
        "use one of its own (ip address), or 0.0.0.0 for all of them",
    ),
    errno.EACCES: (
        "Not permitted",
        "ports below 1024 are kept for the administrator",
        "choose a port from 1024 up",
    ),
}


def _network(error: OSError | EOFError, peer: Peer) -> ConsoleError:
    if isinstance(error, EOFError):
        title, cause, remedy = _CLOSED
    elif isinstance(error, socket.gaierror):
        again = error.errno == socket.EAI_AGAIN
        title, _, remedy = _NOT_FOUND
        cause = "the name servers do not answer" if again else "there is no host of that name"
    else:
        number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or 0
        other = ("Connection failed", error.strerror or str(error), "check network and address")
        title, cause, remedy = _ERRNO.get(number, other)
    return ConsoleError(title, f"{peer}: {cause}", remedy)
