"""Explain what TLS and the network report: OpenSSL's reasons are written for programmers."""

from __future__ import annotations

import ssl

from tpmconsole.errors import ConsoleError, ExitCode, Remedy
from tpmconsole.session.tls.alerts import refused_us
from tpmconsole.session.tls.network import not_reached
from tpmconsole.session.tls.openssl import BridgeError
from tpmconsole.session.tls.peer import Peer
from tpmconsole.session.tls.verification import BAD_SIGNATURE, not_trusted

# OpenSSL's own reasons
WORDS: dict[str, tuple[str, Remedy]] = {
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
        "it sent no certificate, and we require one",
        "give the client a certificate that our trust anchors accept",
    ),
    "UNEXPECTED_EOF_WHILE_READING": (
        "it closed the connection without a reason",
        "look at its log; perhaps it does not accept our certificate",
    ),
    "LENGTH_MISMATCH": ("what it sent is not TLS", "check the port"),
    "UNEXPECTED_MESSAGE": ("what it sent is out of order", "look at its log"),
}


def explain(error: BaseException, peer: Peer) -> ConsoleError:
    """Return the error that explains to a user what went wrong with a peer."""
    if isinstance(error, ConsoleError):
        return error
    if isinstance(error, BridgeError):
        return ConsoleError(error.title, error.cause, error.remedy, ExitCode.REFUSED)
    if isinstance(error, ssl.SSLCertVerificationError):
        return not_trusted(error, peer)
    if isinstance(error, ssl.SSLError):
        return _tls(error, peer)
    if isinstance(error, (OSError, EOFError)):
        return not_reached(error, peer)
    return ConsoleError(
        "Something unexpected",
        f"{type(error).__name__} while talking to {peer}",
        "look at the session's log, and report it",
        ExitCode.UNEXPECTED,
    )


def is_about_trust(error: BaseException) -> bool:
    """Whether trying again without a change on either side is useless."""
    return isinstance(error, ssl.SSLError) and not isinstance(
        error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    )


def is_peers_doing(error: ssl.SSLError) -> bool:
    """Whether a handshake failed because of what the peer did or did not send, not our key.

    False for a bad signature: tpm2-openssl before 1.2 verifies in the TPM, which may be gone.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_code != BAD_SIGNATURE
    reason = getattr(error, "reason", None) or ""
    gone = isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError))
    return gone or "_ALERT_" in reason or reason in WORDS


def renegotiation_refused(peer: Peer) -> ConsoleError:
    """Return the error for a peer that asked for another handshake.

    Servers do that to protect a single path.
    """
    why = ", as for a path that needs a certificate," if peer.our_role == "client" else ""
    remedy = "allow TLS 1.3 there"
    if why:
        remedy += ", or let it ask for the certificate at the start of each connection"
    return ConsoleError(
        "Renegotiation refused",
        f"{peer} asked for a new handshake in the middle of a TLS 1.2 connection{why} and gave up "
        "when that was refused",
        remedy,
    )


def _tls(error: ssl.SSLError, peer: Peer) -> ConsoleError:
    # If Python itself made the error, the attribute is missing.
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLEOFError):
        reason = reason or "UNEXPECTED_EOF_WHILE_READING"
    if "_ALERT_" in reason:
        return refused_us(reason.partition("_ALERT_")[2], peer)
    if reason in WORDS:
        cause, remedy = WORDS[reason]
        return ConsoleError("TLS failed", f"{peer}: {cause}", remedy)
    words = reason.replace("_", " ").lower() or str(error)
    return ConsoleError("TLS failed", f"{peer}: OpenSSL says {words}", "look at both sides' logs")
