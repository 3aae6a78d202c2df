"""Check what a CA sent back before anything is installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from tpmconsole.errors import ConsoleError
from tpmconsole.finding import Finding, fail, ok
from tpmconsole.x509 import checks
from tpmconsole.x509.bundle import look_inside, read_bundle
from tpmconsole.x509.chain import find_path, is_ca, roles_of
from tpmconsole.x509.chain_checks import check_algorithms, check_authority, check_chain, check_trust
from tpmconsole.x509.chain_faults import find_fault, judged_at, unknown_ca
from tpmconsole.x509.comparisons import check_possession, check_renewal, check_request, not_tried
from tpmconsole.x509.names import fingerprint, key_bytes, name_text, san_entries
from tpmconsole.x509.san import Reached
from tpmconsole.x509.schemes import PrivateKey

__all__ = ["CertificateInfo", "Finding", "Judgement", "Proof", "describe", "judge", "read_bundle"]


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """What a certificate says, as text that is safe to show.

    Attributes:
        serial: hexadecimal, lower case.
        fingerprint: SHA-256, 64 hexadecimal digits.
        san: in the form of a request: ``dns:gateway.local``.
        ca: whether it may sign other certificates.
    """

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    serial: str
    fingerprint: str
    san: tuple[str, ...]
    ca: bool

    @property
    def trusted_for(self) -> str:
        """What trusting it means if it is not a CA's certificate; empty for the usual CA."""
        return "" if self.ca else "; not a CA: only this peer"

    def to_json(self) -> dict[str, Any]:
        """All attributes, with times in ISO 8601 UTC."""
        return asdict(self) | {
            "not_before": self.not_before.isoformat(timespec="seconds"),
            "not_after": self.not_after.isoformat(timespec="seconds"),
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """All verdicts on a bundle.

    Attributes:
        leaf: the certificate that belongs to the key, or None.
        chain: what to install and send to a peer: the leaf, then the intermediates in order, but
            not the trust anchor.
        anchors: the trust anchors that it was judged by, including those that came with it.
        added: the anchors that are new here: trusted only after the user has confirmed them.
        unknown_ca: the name of the CA that it leads to, if all that is missing is trust in that
            CA; else empty.
    """

    verdicts: tuple[Finding, ...]
    leaf: x509.Certificate | None
    chain: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...] = ()
    added: tuple[x509.Certificate, ...] = ()
    unknown_ca: str = ""

    def also(self, finding: Finding) -> Judgement:
        """The same with one more verdict before the others."""
        return replace(self, verdicts=(finding, *self.verdicts))

    @property
    def acceptable(self) -> bool:
        """Whether it may be installed: no verdict is fail."""
        return all(one.state != "fail" for one in self.verdicts)


@dataclass(frozen=True, slots=True)
class Proof:
    """What is needed to test the key with a signature.

    Attributes:
        key: the private key; None if it needs a password that was not given.
        fixed: the only scheme that the key may use, such as ``RSAPSS SHA-256``; empty if any.
    """

    key: PrivateKey | None
    fixed: str = ""


def describe(certificate: x509.Certificate) -> CertificateInfo:
    """Describe a certificate; every text is bounded and printable."""
    return CertificateInfo(
        subject=name_text(certificate.subject),
        issuer=name_text(certificate.issuer),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        serial=f"{certificate.serial_number:x}",
        fingerprint=fingerprint(certificate),
        san=san_entries(certificate),
        ca=is_ca(certificate),
    )


def judge(  # noqa: PLR0913 - everything that a certificate is compared with, options by keyword
    bundle: Sequence[x509.Certificate],
    *,
    public_key: PublicKeyTypes,
    trust: Sequence[x509.Certificate],
    role: str,
    now: datetime,
    offered: Sequence[x509.Certificate] = (),
    proof: Proof | None = None,
    origin: Finding | None = None,
    request: x509.CertificateSigningRequest | None = None,
    previous: x509.Certificate | None = None,
    soon: timedelta = checks.EXPIRES_SOON,
    made: datetime | None = None,
    reached: Sequence[Reached] = (),
) -> Judgement:
    """Check whether a bundle would work with the key, and say what would not work.

    Args:
        bundle: the leaf, which is found by its key, and the rest of its chain, in any order.
        public_key: the identity's key.
        trust: the trust anchors that are installed.
        role: ``client``, ``server`` or ``both``.
        now: the board's clock, aware UTC.
        offered: trust anchors that came with it.
        proof: if given, the key is tested with a signature.
        origin: what the TPM says about the key's origin; a verdict like the others.
        request: if given, what the CA changed is reported.
        previous: if given, the installed certificate that this one would replace.
        soon: how long before a certificate expires it gives a warning.
        made: when the identity was made; a clock that shows an earlier time was set back.
        reached: where clients are known to reach a server with it.

    Raises:
        ConsoleError: only what the private key raises.
    """
    added = [one for one in dict.fromkeys(offered) if one not in trust]
    anchors = [*trust, *added]
    bundle = list(dict.fromkeys(bundle))  # several files may hold the same one
    try:
        for number, one in enumerate([*bundle, *anchors], 1):
            look_inside(one, f"certificate {number} of {len(bundle) + len(anchors)}")
    except ConsoleError as error:
        unread = fail(error.cause, error.remedy, name="readable")
        return Judgement((unread,), None, ())
    leaf = _find_leaf(bundle, public_key, now)
    if leaf is None:
        return Judgement((_readable(bundle, ()), _another_key(bundle)), None, ())
    when, roles = judged_at(leaf, now), roles_of(role)
    path = find_path(
        leaf,
        [one for one in bundle if one != leaf],
        anchors,
        now,
        good=lambda way: find_fault(way, (), anchors, roles, when) is None,
    )
    verdicts = [
        _readable(bundle, (*path.certificates, *path.issuers)),
        ok(f"'{name_text(leaf.subject)}' belongs to this key", name="key-match"),
    ]
    if proof is not None:
        verdicts.append(
            check_possession(leaf, proof.key, proof.fixed) if proof.key else not_tried()
        )
    verdicts += [origin] if origin is not None else []
    verdicts += _judge_leaf(leaf, role, now, soon, made)
    if "server" in roles_of(role):
        verdicts.append(checks.check_san(leaf, reached))
    verdicts += [
        check_algorithms(path),
        check_authority(path),
        check_trust(anchors, now, added),
        check_chain(path, [*bundle, *anchors], anchors, role, now),
    ]
    if request is not None:
        verdicts.append(check_request(leaf, request))
    if previous is not None:
        verdicts.append(check_renewal(leaf, previous))
    failed = {one.name for one in verdicts if one.state == "fail"}
    # The trust anchors fail as well if there are none, or if one of them cannot be trusted.
    only_trust = failed == ({"chain"} if anchors else {"chain", "trust"})
    ca = unknown_ca(path, [*bundle, *anchors]) if only_trust else None
    return Judgement(
        tuple(verdicts),
        leaf,
        path.certificates,
        tuple(anchors),
        tuple(added),
        name_text(ca) if ca else "",
    )


def _judge_leaf(
    leaf: x509.Certificate, role: str, now: datetime, soon: timedelta, made: datetime | None
) -> list[Finding]:
    dates = checks.check_dates(leaf, now, made)
    verdicts = [dates]
    if dates.state == "ok":  # else it has expired, or the time left is unknown
        verdicts.append(checks.check_expiry(leaf, now, soon))
    verdicts += [checks.check_not_ca(leaf), checks.check_usage(leaf, role)]
    return verdicts


def _find_leaf(
    bundle: Sequence[x509.Certificate], public_key: PublicKeyTypes, now: datetime
) -> x509.Certificate | None:
    """Find the key's certificate; if there are several (renewals), the newest valid one."""
    wanted = key_bytes(public_key)
    own = [one for one in bundle if key_bytes(one.public_key()) == wanted]
    return max(
        own,
        key=lambda one: (one.not_valid_after_utc >= now, one.not_valid_before_utc),
        default=None,
    )


def _readable(bundle: Sequence[x509.Certificate], used: Sequence[x509.Certificate]) -> Finding:
    if not bundle:
        return fail("there is no certificate", "choose the file from your CA", name="readable")
    count = "1 certificate" if len(bundle) == 1 else f"{len(bundle)} certificates"
    spare = sum(one not in used for one in bundle) if used else 0
    return ok(f"{count} read" + (f", {spare} of them not needed" if spare else ""), name="readable")


def _another_key(bundle: Sequence[x509.Certificate]) -> Finding:
    names = ", ".join(f"'{name_text(one.subject)}'" for one in bundle[:3])
    return fail(
        f"no certificate belongs to this identity's key; they are for {names or 'no one'}",
        "import it into the identity whose request was signed, "
        "or if the key is a new one, make a new request",
        name="key-match",
    )
