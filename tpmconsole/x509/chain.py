"""Find the path from a certificate to a trust anchor; ask cryptography's verifier about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from tpmconsole.text import printable
from tpmconsole.x509.links import (
    is_self_signed,
    is_signed_by,
    looks_self_signed,
    names_another_key,
    same_name,
)
from tpmconsole.x509.names import basic_constraints, general_names, key_usage, purposes
from tpmconsole.x509.san import unmatched

MAX_LENGTH = 8
# The limit for a bundle that is made to waste time: many certificates with the same name.
MAX_SIGNATURES = 300
_MAX_WAYS = 20
PURPOSES = {
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
}

# The verifier names a key or a signature by its own type, with the fields.
_FORBIDDEN = re.compile(r"Forbidden .*? algorithm: AlgorithmIdentifier \{.*? params: (\w+)", re.S)
_KEY_KINDS = {
    "Ed25519": "Ed25519",
    "Ed448": "Ed448",
    "Dsa": "DSA",
    "Ec": "a curve other than P-256, P-384 and P-521",
}

_UNSUPPORTED = (ValueError, TypeError, UnsupportedAlgorithm)


@dataclass(frozen=True, slots=True)
class ChainPath:
    """The path from a certificate up through its issuers, as far as they are known.

    Attributes:
        certificates: the leaf first; the anchor is not among them unless it is the leaf itself.
        anchor: the trust anchor at the end, or None.
        not_named: if there is no anchor, the CA that did sign the last certificate although that
            certificate names another key in its authority key identifier.
    """

    certificates: tuple[x509.Certificate, ...]
    anchor: x509.Certificate | None
    not_named: x509.Certificate | None = None

    @property
    def issuers(self) -> tuple[x509.Certificate, ...]:
        """Everything above the leaf."""
        above = self.certificates[1:]
        if self.anchor is None or self.anchor in self.certificates:
            return above
        return (*above, self.anchor)


def allowed_roles(
    owner: x509.Certificate | x509.CertificateSigningRequest,
) -> tuple[str, ...]:
    """Return the roles that the extended key usage allows: ``client``, ``server``."""
    allowed = purposes(owner)
    return tuple(role for role, oid in PURPOSES.items() if allowed is None or oid in allowed)


def roles_of(role: str) -> tuple[str, ...]:
    """Return the roles that a role stands for: ``both`` stands for two."""
    return ("client", "server") if role == "both" else (role,)


def find_path(
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    now: datetime,
    good: Callable[[ChainPath], bool] = lambda _: True,
) -> ChainPath:
    """Follow the issuers up to a trust anchor.

    If there are several paths (cross-signed CAs), a path that reaches an anchor is preferred, then
    certificates that are valid now, then newer ones. If no path reaches an anchor, the longest one
    is returned.

    Args:
        good: decides between paths that reach an anchor: the first good path is returned.
    """
    return _Search(others, anchors, now).path(leaf, good)


class _Search:
    """A depth-first search with a limit on the number of signatures that it verifies."""

    def __init__(
        self,
        others: Sequence[x509.Certificate],
        anchors: Sequence[x509.Certificate],
        now: datetime,
    ) -> None:
        self._others = others
        self._anchors = anchors
        self._now = now
        self._signatures_left = MAX_SIGNATURES
        self._dead_end: tuple[x509.Certificate, ...] = ()

    def path(self, leaf: x509.Certificate, good: Callable[[ChainPath], bool]) -> ChainPath:
        if leaf in self._anchors:
            return ChainPath((leaf,), leaf)
        first = None
        for way in islice(self._up((leaf,)), _MAX_WAYS):
            if good(way):
                return way
            first = first or way
        return first or self._no_way()

    def _no_way(self) -> ChainPath:
        last = self._dead_end[-1]
        signed = (
            one
            for one in (*self._anchors, *self._others)
            if same_name(one.subject, last.issuer)
            and names_another_key(last, one)
            and self._signed(last, one)
        )
        return ChainPath(self._dead_end, None, next(signed, None))

    def _up(self, way: tuple[x509.Certificate, ...]) -> Iterator[ChainPath]:
        if len(way) > len(self._dead_end):
            self._dead_end = way
        if looks_self_signed(way[-1]):  # OpenSSL stops here too: its error 19
            return
        for anchor in self._candidates(way[-1], self._anchors):
            if self._signed(way[-1], anchor):
                yield ChainPath(way, anchor)
        if len(way) > MAX_LENGTH:
            return
        for issuer in self._candidates(way[-1], self._others):
            if issuer not in way and self._signed(way[-1], issuer):
                yield from self._up((*way, issuer))

    def _candidates(
        self, child: x509.Certificate, among: Sequence[x509.Certificate]
    ) -> list[x509.Certificate]:
        named = [
            one
            for one in among
            if same_name(one.subject, child.issuer) and not names_another_key(child, one)
        ]
        return sorted(named, key=self._preference, reverse=True)

    def _preference(self, certificate: x509.Certificate) -> tuple[bool, datetime]:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return begin <= self._now <= end, begin

    def _signed(self, child: x509.Certificate, issuer: x509.Certificate) -> bool:
        self._signatures_left -= 1
        return self._signatures_left >= 0 and is_signed_by(child, issuer)


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether it may sign other certificates (RFC 5280, 4.2.1.3 and 4.2.1.9)."""
    if certificate.version is x509.Version.v1:  # no extensions: OpenSSL accepts such a root as a CA
        return is_self_signed(certificate)
    basic, usage = basic_constraints(certificate), key_usage(certificate)
    return basic is not None and basic.ca and (usage is None or usage.key_cert_sign)


def may_be_trusted(certificate: x509.Certificate) -> bool:
    """Whether it can be a trust anchor: a CA, or one peer that signed its own certificate.

    OpenSSL and cryptography's verifier accept the latter for that one peer only.
    """
    return is_ca(certificate) or is_self_signed(certificate)


def verify(
    path: ChainPath,
    anchors: Sequence[x509.Certificate],
    role: str,
    when: datetime,
) -> str | None:
    """Ask cryptography's verifier about exactly this path, because exactly this path is installed.

    It applies RFC 5280 and the rules of the CA/Browser Forum, as browsers and Go do.

    Args:
        anchors: at least one.
        role: ``client`` or ``server``; a server is verified by a name from its certificate.
        when: the moment at which all certificates must be valid.

    Returns:
        None if it accepts the path, else its reason.
    """
    leaf, *intermediates = path.certificates
    builder = PolicyBuilder().store(Store(list(anchors))).time(when).max_chain_depth(MAX_LENGTH)
    ca, end = _rules(role)
    builder = builder.extension_policies(ca_policy=ca, ee_policy=end)
    try:
        if role == "server":
            subject = _server_name(leaf)
            if subject is None:
                return "the certificate has no name or address to verify a server by"
            builder.build_server_verifier(subject).verify(leaf, intermediates)
        else:
            builder.build_client_verifier().verify(leaf, intermediates)
    except (VerificationError, *_UNSUPPORTED) as error:
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    """The verifier's message without the parts for programmers: types, and objects in brackets."""
    text = str(error).removeprefix("validation failed: ").removeprefix("candidates exhausted: ")
    forbidden = _FORBIDDEN.match(text)
    if forbidden:
        kind = f" ({_KEY_KINDS[forbidden[1]]})" if forbidden[1] in _KEY_KINDS else ""
        return f"it has a key or signature of a kind that they do not accept{kind}"
    return printable(text.partition(" (encountered")[0])


def _rules(role: str) -> tuple[ExtensionPolicy, ExtensionPolicy]:
    end = ExtensionPolicy.webpki_defaults_ee()
    if role == "client":
        # TLS servers identify a client by its subject and do not require a SAN.
        end = end.may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    return ExtensionPolicy.webpki_defaults_ca(), end


def _server_name(leaf: x509.Certificate) -> x509.DNSName | x509.IPAddress | None:
    for name in general_names(leaf):
        if unmatched(name):
            continue
        if isinstance(name, x509.IPAddress):
            return name
        if isinstance(name, x509.DNSName):
            # A host that the wildcard matches: the verifier does not accept a wildcard as the name
            # of a server (RFC 9525, 6.3).
            return x509.DNSName(name.value.replace("*", "any", 1))
    return None
