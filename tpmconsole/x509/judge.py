"""What a CA sent back, judged before anything is installed."""

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
from tpmconsole.x509.chain_faults import find_fault, judged_at
from tpmconsole.x509.comparisons import check_possession, check_renewal, check_request, not_tried
from tpmconsole.x509.names import fingerprint, key_bytes, name_text, san_entries
from tpmconsole.x509.schemes import PrivateKey

__all__ = ["CertificateInfo", "Finding", "Judgement", "Proof", "describe", "judge", "read_bundle"]


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """A certificate in words; safe to show.

    Attributes:
        serial: hexadecimal, lower case.
        fingerprint: SHA-256, 64 hexadecimal digits.
        san: as a request writes them: ``dns:gateway.local``.
        ca: whether it may vouch for others.
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
        """What trusting it means where it is no CA's; empty for a CA's, which is the rule."""
        return "" if self.ca else "; no CA: this one peer alone"

    def to_json(self) -> dict[str, Any]:
        """The facts with times in ISO 8601 UTC."""
        return asdict(self) | {
            "not_before": self.not_before.isoformat(timespec="seconds"),
            "not_after": self.not_after.isoformat(timespec="seconds"),
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """All verdicts on a bundle.

    Attributes:
        leaf: the certificate that belongs to the key, or None.
        chain: what to install and send to a peer: the leaf, then intermediates in order; the trust
            anchor is not among them.
        anchors: the trust anchors it was judged by, those that are offered with it too.
        added: the anchors that are new here: to be trusted only after somebody's yes.
    """

    verdicts: tuple[Finding, ...]
    leaf: x509.Certificate | None
    chain: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...] = ()
    added: tuple[x509.Certificate, ...] = ()

    def also(self, finding: Finding) -> Judgement:
        """The same with one more verdict before the others."""
        return replace(self, verdicts=(finding, *self.verdicts))

    @property
    def acceptable(self) -> bool:
        """Whether it may be installed: no verdict is fail."""
        return all(one.state != "fail" for one in self.verdicts)


@dataclass(frozen=True, slots=True)
class Proof:
    """What the key proves itself by.

    Attributes:
        key: the private key; None where it asks for a password that nobody gave.
        fixed: the only scheme it was made for, as ``RSAPSS SHA-256``; empty where it is free.
    """

    key: PrivateKey | None
    fixed: str = ""


def describe(certificate: x509.Certificate) -> CertificateInfo:
    """A certificate's facts; every text in them is bounded and printable."""
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


def judge(  # noqa: PLR0913 - all that a certificate can be held against, each optional one named
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
) -> Judgement:
    """Say of a bundle whether it would work with the key, and what would not.

    Args:
        bundle: the leaf, found by the key wherever it stands, and what belongs to its chain.
        public_key: the identity's key.
        trust: the trust anchors that are installed.
        role: ``client``, ``server`` or ``both``.
        now: the board's clock, aware UTC.
        offered: trust anchors that came with it.
        proof: where given, the key has to prove itself by a signature.
        origin: what the TPM says of where the key is from; a verdict like the others.
        request: where given, what the CA changed against it is told.
        previous: where given, the installed certificate that this one would replace.
        soon: how long before its end a certificate draws a warning.
        made: when the identity was made; a clock that says less was set back.

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
    return Judgement(tuple(verdicts), leaf, path.certificates, tuple(anchors), tuple(added))


def _judge_leaf(
    leaf: x509.Certificate, role: str, now: datetime, soon: timedelta, made: datetime | None
) -> list[Finding]:
    dates = checks.check_dates(leaf, now, made)
    verdicts = [dates]
    if dates.state == "ok":  # else it has ended already, or nobody knows how long it has
        verdicts.append(checks.check_expiry(leaf, now, soon))
    verdicts += [checks.check_not_ca(leaf), checks.check_usage(leaf, role)]
    if "server" in roles_of(role):
        verdicts.append(checks.check_san(leaf))
    return verdicts


def _find_leaf(
    bundle: Sequence[x509.Certificate], public_key: PublicKeyTypes, now: datetime
) -> x509.Certificate | None:
    """The key's certificate; of several (a renewal beside the old one) the newest valid one."""
    wanted = key_bytes(public_key)
    own = [one for one in bundle if key_bytes(one.public_key()) == wanted]
    return max(
        own,
        key=lambda one: (one.not_valid_after_utc >= now, one.not_valid_before_utc),
        default=None,
    )


def _readable(bundle: Sequence[x509.Certificate], used: Sequence[x509.Certificate]) -> Finding:
    if not bundle:
        return fail("there is no certificate", "choose the file your CA sent", name="readable")
    count = "1 certificate" if len(bundle) == 1 else f"{len(bundle)} certificates"
    spare = sum(one not in used for one in bundle) if used else 0
    return ok(f"{count} read" + (f", {spare} of them not needed" if spare else ""), name="readable")


def _another_key(bundle: Sequence[x509.Certificate]) -> Finding:
    names = ", ".join(f"'{name_text(one.subject)}'" for one in bundle[:3])
    return fail(
        f"no certificate belongs to this identity's key; they are for {names or 'nobody'}",
        "import it into the identity whose request was signed, "
        "or make a new request if the key was made anew",
        name="key-match",
    )
