"""Endorsement certificates: a TPM's maker vouches for a chip by its endorsement key.

They are not certificates for TLS: the subject is empty, the alternative name (critical) holds the
chip's maker and model, and ordinary path validation refuses them for both. So signatures, dates and
what a CA may do are checked here (TCG EK Credential Profile for TPM Family 2.0, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from tpmconsole.clock import moment
from tpmconsole.text import printable
from tpmconsole.x509.chain import ChainPath, find_path, is_ca
from tpmconsole.x509.links import broken_hash
from tpmconsole.x509.names import basic_constraints, extension, name_text, purposes

# tcg-kp-EKCertificate; without it, any certificate below a maker's root would do.
ENDORSEMENT_USE = x509.ObjectIdentifier("2.23.133.8.1")
_ATTRIBUTES = {
    "2.23.133.2.1": "manufacturer",
    "2.23.133.2.2": "model",
    "2.23.133.2.3": "version",
}
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Chip:
    """What an endorsement certificate says about the chip; a field that it lacks is empty.

    Attributes:
        manufacturer: the TCG's identifier, as four characters (``IFX``) or ``id:00001014``.
        model: the maker's own name for it.
        version: of the firmware when the chip was made, ``id:`` and hexadecimal.
    """

    manufacturer: str = ""
    model: str = ""
    version: str = ""


def chip_of(certificate: x509.Certificate) -> Chip:
    """Which chip an endorsement certificate is for, by its alternative name."""
    found: dict[str, str] = {}
    names = extension(certificate, x509.SubjectAlternativeName) or ()
    for name in names:
        if isinstance(name, x509.DirectoryName):
            for attribute in name.value:
                field = _ATTRIBUTES.get(attribute.oid.dotted_string)
                if field is not None:
                    found.setdefault(field, printable(str(attribute.value), _SHOWN))
    chip = Chip(**found)
    return Chip(_manufacturer(chip.manufacturer), chip.model, chip.version)


def _manufacturer(text: str) -> str:
    """``id:49465800`` as the four characters that it stands for."""
    try:
        letters = bytes.fromhex(text.removeprefix("id:")).rstrip(b"\0 ").decode("ascii")
    except ValueError:
        return text
    return letters if letters.isalnum() else text


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an endorsement certificate is not trusted, and what the CA's operator can do."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Endorsed:
    """An endorsement certificate that was looked at.

    Attributes:
        certificate: it.
        path: from it up to a CA of a maker that the operator gave, or as far as it goes.
        problem: why it is not trusted; None if it is.
    """

    certificate: x509.Certificate
    path: ChainPath
    problem: Problem | None


def judge_endorsement(
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    makers: Sequence[x509.Certificate],
    now: datetime,
) -> Endorsed:
    """Whether a maker that is trusted vouches for an endorsement key.

    Args:
        chain: the CAs that came with it; that alone does not make them trusted.
        makers: the CAs of makers that the operator trusts.
        now: when all certificates have to be valid.
    """
    path = find_path(certificate, chain, makers, now)
    return Endorsed(certificate, path, _problem(certificate, path, now))


def _problem(certificate: x509.Certificate, path: ChainPath, now: datetime) -> Problem | None:
    if ENDORSEMENT_USE not in (purposes(certificate) or ()) or is_ca(certificate):
        return Problem(
            "it is not an endorsement certificate: it does not have its extended key usage "
            f"({ENDORSEMENT_USE.dotted_string})",
            "ask the board's maker which chip is on it; another certificate proves nothing",
        )
    if path.anchor is None:
        return _unknown_maker(path)
    for one in (*path.certificates, path.anchor):
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            return Problem(
                f"'{_named(one)}' is valid from {moment(one.not_valid_before_utc)} to "
                f"{moment(one.not_valid_after_utc)}",
                "check this computer's clock; ask the chip's maker for a newer certificate",
            )
    # The anchor's own signature says nothing: the operator gave it.
    for one in path.certificates:
        if broken := broken_hash(one):
            return Problem(
                f"'{_named(one)}' is signed with {broken}, which can be forged",
                "take no chip by it; ask its maker for another certificate",
            )
    for depth, one in enumerate(path.issuers):
        basic = basic_constraints(one)
        limit = basic.path_length if basic is not None else None
        if not is_ca(one) or (limit is not None and depth > limit):
            return Problem(
                f"'{_named(one)}' must not vouch for others, or not for so long a chain",
                "take no chip by it: its maker did not issue this",
            )
    return None


def _unknown_maker(path: ChainPath) -> Problem:
    last = path.certificates[-1]
    where = _where_issuer_is(last)
    offered = f"; its maker offers it at {where}" if where else ""
    return Problem(
        f"it is of a maker that you have not named: '{name_text(last.issuer)}' is not in your "
        "folder of makers",
        "where you trust that maker, get this CA's certificate from it and put it into the folder"
        f"{offered}",
    )


def _where_issuer_is(certificate: x509.Certificate) -> str:
    """The address of its issuer's certificate (RFC 5280, 4.2.2.1); nothing is fetched from it."""
    access = extension(certificate, x509.AuthorityInformationAccess) or ()
    for one in access:
        location = one.access_location
        if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS and isinstance(
            location, x509.UniformResourceIdentifier
        ):
            return printable(location.value, 200)
    return ""


def _named(certificate: x509.Certificate) -> str:
    """A certificate by its subject; that of an endorsement certificate is empty."""
    return name_text(certificate.subject) if list(certificate.subject) else "the endorsement key's"
