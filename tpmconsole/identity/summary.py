"""An identity on one line: its state, and when its certificate expires."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from tpmconsole import clock
from tpmconsole.errors import ConsoleError
from tpmconsole.identity.attestation import Attestation
from tpmconsole.identity.identity import (
    Handed,
    kept_certificate,
    kept_request,
    request_is_attested,
)
from tpmconsole.identity.store import Identity
from tpmconsole.settings import WARN_DAYS
from tpmconsole.x509.chain import allowed_roles
from tpmconsole.x509.judge import describe
from tpmconsole.x509.names import name_text, pem

_RENEW = ": renew it"


@dataclass(frozen=True, slots=True)
class Summary:
    """What the screens show of an identity.

    Attributes:
        state: ``KEY`` (made), ``REQUEST`` (waits for the CA), ``NO TRUST`` (certified, but trusts
            no peer), ``READY``, ``EXPIRES`` (soon), ``EXPIRED``, ``NO CLOCK`` (the dates cannot be
            checked), ``ERROR``, or ``UNKNOWN`` if we cannot read its folder.
        where: ``key.pem`` or the persistent handle.
        detail: when the certificate expires, or what is missing.
        made: when the key was made.
        requested: when the request was made.
        fingerprint: SHA-256 of its certificate, hex.
        certificate: its certificate in PEM, without the chain.
        renewing: a request for the next certificate is waiting for the CA.
        can_undo: the previous certificate was kept.
        serves: the roles that the installed certificate allows: ``client``, ``server``, both or
            neither.
        handed: when and where the request was handed over; None until it was.
        key_lost: its key is gone or is a different one, and the identity can no longer be used.
        attestation: how its key proved for the current certificate that it is in a TPM.
        request_attested: the request includes what a CA needs for that proof.
    """

    name: str
    algorithm: str
    where: str
    auth: str
    state: str
    detail: str
    role: str | None = None
    request_subject: str | None = None
    subject: str | None = None
    issuer: str | None = None
    not_after: datetime | None = None
    has_trust: bool = False
    origin: str = "tpm"
    made: datetime | None = None
    requested: datetime | None = None
    renewing: bool = False
    can_undo: bool = False
    key_lost: bool = False
    fingerprint: str | None = None
    certificate: str | None = None
    handed: Handed | None = None
    serves: tuple[str, ...] = ()
    attestation: Attestation | None = None
    request_attested: bool = False


def summarise(identity: Identity, now: datetime, warn_days: int = WARN_DAYS) -> Summary:
    """Read an identity's folder; a damaged file is described in ``detail``, never raised.

    Args:
        warn_days: how many days before it expires a certificate is ``EXPIRES``.
    """
    known = Summary(
        name=identity.name,
        algorithm=identity.algorithm,
        where="key.pem" if identity.handle is None else f"0x{identity.handle:08x}",
        auth=identity.auth,
        state="KEY",
        detail="no request yet",
        role=identity.role,
        has_trust=identity.has_trust,
        origin=identity.origin,
        made=identity.made,
        requested=identity.requested,
        renewing=identity.renewing,
        can_undo=identity.can_undo,
        key_lost=identity.key_lost,
        handed=identity.handed,
    )
    if identity.closed:
        return replace(known, state="UNKNOWN", detail=identity.problem or "")
    if identity.problem is not None:
        return replace(known, state="ERROR", detail=identity.problem)
    try:
        known = replace(
            known,
            request_subject=_request_subject(identity),
            request_attested=request_is_attested(identity),
        )
        certificate = kept_certificate(identity)
        if certificate is None:
            waits = known.request_subject is not None
            return replace(known, state="REQUEST", detail="waits for the CA") if waits else known
        facts = describe(certificate)
    except ConsoleError as error:
        return replace(known, state="ERROR", detail=str(error))
    if clock.fault(now):
        state, detail = "NO CLOCK", f"clock not plausible; until {facts.not_after:%Y-%m-%d}"
    else:
        state, detail = _validity(facts.not_after, now, warn_days)
    if not known.has_trust and state not in ("EXPIRED", "NO CLOCK"):
        state, detail = "NO TRUST", "trusts no CA, so no session starts"
    if known.renewing:
        detail = detail.removesuffix(_RENEW) + ", renewal waits for the CA"
    return replace(
        known,
        state=state,
        detail=detail,
        subject=facts.subject,
        issuer=facts.issuer,
        fingerprint=facts.fingerprint,
        certificate=pem([certificate]).decode("ascii"),
        not_after=facts.not_after,
        serves=allowed_roles(certificate),
        attestation=identity.attestation
        if identity.attested_certificate == facts.fingerprint
        else None,
    )


def _request_subject(identity: Identity) -> str | None:
    request = kept_request(identity)
    return None if request is None else name_text(request.subject)


def _validity(end: datetime, now: datetime, warn_days: int) -> tuple[str, str]:
    days = (end - now).days
    if end <= now:
        return "EXPIRED", f"since {end:%Y-%m-%d}{_RENEW}"
    if days < warn_days:
        return "EXPIRES", f"{end:%Y-%m-%d}, in {days} days{_RENEW}"
    return "READY", f"until {end:%Y-%m-%d}, {days} days"
