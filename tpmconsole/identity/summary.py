"""An identity on one line: how far it is, and until when its certificate holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from tpmconsole.errors import ConsoleError
from tpmconsole.files import read_bounded
from tpmconsole.identity.bundle import read_bundle
from tpmconsole.identity.certificate import describe
from tpmconsole.identity.naming import name_text
from tpmconsole.identity.store import Identity

WARN_DAYS = 30
REQUEST_BYTES = 64 * 1024
CERTIFICATE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Summary:
    """What the screens show of an identity.

    Attributes:
        state: ``KEY`` (made), ``REQUEST`` (waits for the CA), ``READY``, ``EXPIRES`` (soon),
            ``EXPIRED`` or ``ERROR``.
        where: ``key.pem`` or the persistent handle.
        detail: the certificate's end, or what is missing.
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


def summarise(identity: Identity, now: datetime) -> Summary:
    """Read an identity's folder; a damaged file is told in ``detail``, never raised."""
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
    )
    try:
        known = replace(known, request_subject=_request_subject(identity))
        if not identity.has_certificate:
            waits = known.request_subject is not None
            return replace(known, state="REQUEST", detail="waits for the CA") if waits else known
        facts = describe(read_bundle(read_bounded(identity.certificate, CERTIFICATE_BYTES))[0])
    except (ConsoleError, ValueError) as error:
        return replace(known, state="ERROR", detail=str(error))
    state, detail = _validity(facts.not_after, now)
    return replace(
        known,
        state=state,
        detail=detail,
        subject=facts.subject,
        issuer=facts.issuer,
        not_after=facts.not_after,
    )


def _request_subject(identity: Identity) -> str | None:
    if not identity.has_request:
        return None
    request = x509.load_pem_x509_csr(read_bounded(identity.request, REQUEST_BYTES))
    return name_text(request.subject)


def _validity(end: datetime, now: datetime) -> tuple[str, str]:
    days = (end - now).days
    if end <= now:
        return "EXPIRED", f"since {end:%Y-%m-%d}"
    if days < WARN_DAYS:
        return "EXPIRES", f"{end:%Y-%m-%d}, in {days} days"
    return "READY", f"until {end:%Y-%m-%d}, {days} days"
