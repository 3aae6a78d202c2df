"""From a certificate up to a trust anchor: the path, and whether verifiers accept it.

The judge is cryptography's verifier. It is as strict as browsers are; what OpenSSL accepts all the
same is told apart by a second, relaxed look, and what is wrong in words by a walk of our own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from tpmconsole.identity.naming import fingerprint, general_names, moment, name_text
from tpmconsole.text import printable

MAX_LENGTH = 8
PURPOSES = {
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
}

_UNSUPPORTED = (ValueError, TypeError, UnsupportedAlgorithm)
# Extensions that this walk understands: any other critical one only a verifier can judge.
_WALKED = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.AuthorityKeyIdentifier,
    x509.SubjectKeyIdentifier,
    x509.CertificatePolicies,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What breaks a chain, and the remedy."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Path:
    """The way up from a certificate as far as it goes.

    Attributes:
        certificates: the leaf first; the anchor is not among them unless it is the leaf itself.
        anchor: the trust anchor it ends at, or None.
    """

    certificates: tuple[x509.Certificate, ...]
    anchor: x509.Certificate | None

    @property
    def issuers(self) -> tuple[x509.Certificate, ...]:
        """Everything above the leaf."""
        above = self.certificates[1:]
        return (*above, self.anchor) if self.anchor else above


def roles_of(role: str) -> tuple[str, ...]:
    """``both`` as the two that it means."""
    return ("client", "server") if role == "both" else (role,)


def find_path(
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> Path:
    """Follow issuers upwards; an anchor is preferred, then what is valid now, then the newest."""
    way = [leaf]
    while len(way) <= MAX_LENGTH:
        lowest = way[-1]
        if lowest in anchors:
            return Path(tuple(way[:-1]) or (leaf,), lowest)
        anchor = next(_issuers(lowest, anchors, now), None)
        if anchor is not None:
            return Path(tuple(way), anchor)
        fresh = [one for one in others if one not in way]
        issuer = next(_issuers(lowest, fresh, now), None)
        if issuer is None:
            break
        way.append(issuer)
    return Path(tuple(way), None)


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether it was signed with its own key, as a root is."""
    return _signed_by(certificate, certificate)


def usages(certificate: x509.Certificate) -> x509.KeyUsage | None:
    """The key usage extension, where there is one."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def purposes(certificate: x509.Certificate) -> list[x509.ObjectIdentifier] | None:
    """The extended key usages; None where the extension is missing and all are allowed."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return None
    return list(found.value)


def constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    """The basic constraints, where there are any."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None


def find_fault(
    path: Path,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    roles: Sequence[str],
    when: datetime,
) -> Fault | None:
    """The first thing about the path that no verifier would accept, in words."""
    if path.anchor is None and not anchors and not is_self_signed(path.certificates[-1]):
        return Fault(
            "no trust anchor is given and none is installed: there is nothing it could lead to",
            "add your CA's root certificate: --trust FILE",
        )
    if path.anchor is None:
        return _no_anchor(path, [*others, *anchors])
    for depth, issuer in enumerate(path.issuers):
        fault = _issuer_fault(issuer, depth, roles, when)
        if fault:
            return fault
    return None


def needs_verifier(path: Path) -> bool:
    """Whether it holds constraints that the walk does not understand."""
    for certificate in (*path.certificates, *path.issuers):
        for extension in certificate.extensions:
            if isinstance(extension.value, x509.NameConstraints):
                return True
            if extension.critical and not isinstance(extension.value, _WALKED):
                return True
    return False


def verify(
    path: Path,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    role: str,
    when: datetime,
    *,
    strict: bool,
) -> str | None:
    """Ask cryptography's verifier (RFC 5280 and, where strict, the CA/Browser Forum's profile).

    Args:
        role: ``client`` or ``server``; a server is verified by a name out of its certificate.
        when: the moment at which all certificates have to be valid.
        strict: with the verifier's own rules for extensions, else with what OpenSSL asks for.

    Returns:
        None where it accepts, else its reason.
    """
    leaf = path.certificates[0]
    builder = PolicyBuilder().store(Store(list(anchors))).time(when).max_chain_depth(MAX_LENGTH)
    ca, end = _strict_rules(role) if strict else _relaxed_rules(role)
    builder = builder.extension_policies(ca_policy=ca, ee_policy=end)
    try:
        if role == "server" and strict:
            subject = _server_name(leaf)
            if subject is None:
                return "the certificate has no DNS name or IP address to verify a server by"
            builder.build_server_verifier(subject).verify(leaf, list(others))
        else:
            builder.build_client_verifier().verify(leaf, list(others))
    except (VerificationError, *_UNSUPPORTED) as error:
        return printable(str(error).removeprefix("validation failed: "))
    return None


def _strict_rules(role: str) -> tuple[ExtensionPolicy, ExtensionPolicy]:
    end = ExtensionPolicy.webpki_defaults_ee()
    if role == "client":
        # A client is known by its subject; that it has no SAN bothers no TLS server.
        end = end.may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    return ExtensionPolicy.webpki_defaults_ca(), end


def _relaxed_rules(role: str) -> tuple[ExtensionPolicy, ExtensionPolicy]:
    def signs_certificates(
        _policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None
    ) -> None:
        if usage is not None and not usage.key_cert_sign:
            raise ValueError("its key usage does not allow it to sign certificates")

    def is_ca(
        _policy: Policy, _certificate: x509.Certificate, basic: x509.BasicConstraints
    ) -> None:
        if not basic.ca:
            raise ValueError("it is no CA")

    def serves(
        _policy: Policy, _certificate: x509.Certificate, allowed: x509.ExtendedKeyUsage | None
    ) -> None:
        if allowed is not None and PURPOSES[role] not in allowed:
            raise ValueError(f"its extended key usage does not allow a {role}")

    ca = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, is_ca)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, signs_certificates)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, serves)
    )
    end = ExtensionPolicy.permit_all().may_be_present(
        x509.ExtendedKeyUsage, Criticality.AGNOSTIC, serves
    )
    return ca, end


def _server_name(leaf: x509.Certificate) -> x509.DNSName | x509.IPAddress | None:
    for name in general_names(leaf):
        if isinstance(name, x509.IPAddress):
            return name
        if isinstance(name, x509.DNSName) and name.value:
            # A host below the wildcard: the verifier takes no wildcard for a name (RFC 6125).
            return x509.DNSName(name.value.replace("*", "any", 1))
    return None


def _issuers(
    child: x509.Certificate, candidates: Sequence[x509.Certificate], now: datetime
) -> Iterator[x509.Certificate]:
    """Those that signed it: valid ones first, then the newest."""
    named = [one for one in candidates if one.subject == child.issuer]
    named.sort(key=lambda one: (_valid(one, now), one.not_valid_before_utc), reverse=True)
    return (one for one in named if _signed_by(child, one))


def _signed_by(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNSUPPORTED):
        return False
    return True


def _valid(certificate: x509.Certificate, when: datetime) -> bool:
    return certificate.not_valid_before_utc <= when <= certificate.not_valid_after_utc


def _no_anchor(path: Path, everything: Sequence[x509.Certificate]) -> Fault:
    top = path.certificates[-1]
    if is_self_signed(top):
        return Fault(
            f"the bundle's root '{name_text(top.subject)}' (SHA-256 {fingerprint(top)}) is not "
            "among the trust anchors, and a root is not trusted for being in the bundle",
            "compare the fingerprint with the one your CA publishes, then add --trust FILE",
        )
    issuer = name_text(top.issuer)
    if any(one.subject == top.issuer for one in everything):
        return Fault(
            f"'{name_text(top.subject)}' was not signed with the key of the '{issuer}' that is "
            "there: the CA has another certificate of that name, or this one is damaged",
            f"get the certificate of '{issuer}' that signed this one from your CA",
        )
    return Fault(
        f"the certificate of '{issuer}', which signed '{name_text(top.subject)}', is missing",
        "add it to the files you import where it is an intermediate CA; "
        "pass it with --trust FILE where it is your CA's root",
    )


def _issuer_fault(  # noqa: PLR0911 - one return for each rule that a CA can break
    issuer: x509.Certificate, depth: int, roles: Sequence[str], when: datetime
) -> Fault | None:
    name = name_text(issuer.subject)
    ask = f"ask your CA for a chain with a working certificate of '{name}'"
    basic = constraints(issuer)
    usage = usages(issuer)
    allowed = purposes(issuer)
    if issuer.not_valid_after_utc < when:
        return Fault(f"the CA '{name}' expired on {moment(issuer.not_valid_after_utc)}", ask)
    if issuer.not_valid_before_utc > when:
        begins = moment(issuer.not_valid_before_utc)
        return Fault(f"the CA '{name}' is not valid before {begins}", "check the board's clock")
    # A root of X.509 version 1 has no extensions at all; OpenSSL takes it for a CA.
    old_root = issuer.version is x509.Version.v1 and is_self_signed(issuer)
    if not old_root and (basic is None or not basic.ca):
        return Fault(f"'{name}' signed a certificate and is no CA (basic constraints)", ask)
    if usage is not None and not usage.key_cert_sign:
        return Fault(f"the key usage of the CA '{name}' does not allow it to sign", ask)
    if basic is not None and basic.path_length is not None and depth > basic.path_length:
        return Fault(f"the CA '{name}' allows {basic.path_length} CAs below it, not {depth}", ask)
    for role in roles:
        if allowed is not None and PURPOSES[role] not in allowed:
            return Fault(f"the extended key usage of the CA '{name}' does not allow a {role}", ask)
    return None
