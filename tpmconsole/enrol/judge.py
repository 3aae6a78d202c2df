"""Whether the key of an attested request is in a chip of a maker that is trusted: a CA's verdicts.

One thing is not among them: that the board *has* the key which it names. That shows when it opens
what is sealed for that key (``sealing``). All that can be seen before is judged here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from tpmconsole.enrol.credential import EndorsementPublicKey, can_be_sealed_to
from tpmconsole.enrol.files import AttestedRequest
from tpmconsole.enrol.inventory import Board, Inventory
from tpmconsole.finding import Finding, fail, ok, warn
from tpmconsole.text import printable
from tpmconsole.tpm import tcg
from tpmconsole.tpm.keyfile.public_area import PublicArea
from tpmconsole.x509.attestation import Chip, Endorsed, Problem, chip_of, judge_endorsement
from tpmconsole.x509.names import general_names, key_bytes, key_fingerprint, name_text, san_entry

_REFUSE = "give it no certificate; find out where this request is from"
_NEW_KEY = "let the board make a new key in its TPM, and send an attested request for that"
# The manufacturer that swtpm reports (it is not in the TCG's registry).
_SIMULATED = "id:00001014"
_ADMIN_WITH_POLICY = 1 << 7  # TPMA_OBJECT, Part 2, 8.3
# By the Name, a chip knows the key again: two keys of one SHA-1 could be made.
_NAME_HASHES = frozenset(
    tcg.HASH_NUMBERS[name]
    for name in ("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512")
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of an attested request.

    Attributes:
        verdicts: one for each check; a CA issues nothing if one is ``fail``.
        key: the endorsement key to seal for; None if there is no trusted one.
        endorsement: its fingerprint, 64 hexadecimal digits; empty without one.
        chip: what its certificate says about the chip.
        board: the board that has the chip, by the inventory; None if the chip is not in it.
    """

    verdicts: tuple[Finding, ...]
    key: EndorsementPublicKey | None
    endorsement: str
    chip: Chip
    board: Board | None

    @property
    def acceptable(self) -> bool:
        """Whether the CA can issue a certificate: no check failed."""
        return self.key is not None and all(one.state != "fail" for one in self.verdicts)


def judge_attested(
    attested: AttestedRequest,
    makers: Sequence[x509.Certificate],
    inventory: Inventory | None,
    now: datetime,
) -> Judgement:
    """Judge an attested request as a CA does.

    Args:
        makers: the CAs of makers of chips that are trusted.
        inventory: which chip is in which board; None if the CA does not use an inventory.
        now: when the makers' certificates have to be valid.
    """
    endorsed = [
        judge_endorsement(one, attested.chain, makers, now) for one in attested.certificates
    ]
    chosen = _chosen(endorsed, inventory)
    fingerprint = "" if chosen is None else key_fingerprint(chosen.certificate.public_key())
    chip = Chip() if chosen is None else chip_of(chosen.certificate)
    board = None if inventory is None else inventory.get(fingerprint)
    believed = chosen is not None and chosen.problem is None
    verdicts = [
        _check_request(attested.request),
        _check_key(attested),
        _check_attributes(attested.area),
        _check_policy(attested.area),
        _check_endorsement(chosen, chip),
        _check_inventory(fingerprint, board, inventory),
    ]
    if board is not None:
        verdicts.append(_check_name(attested.request, board))
    key = chosen.certificate.public_key() if chosen is not None and believed else None
    assert key is None or isinstance(key, EndorsementPublicKey)  # noqa: S101 - _chosen looked
    return Judgement(tuple(verdicts), key, fingerprint, chip, board)


def _chosen(endorsed: Iterable[Endorsed], inventory: Inventory | None) -> Endorsed | None:
    """The endorsement key to use: one that is trusted and in the inventory, or the nearest to it.

    A chip has several, and its maker's CAs for one of them may be all that the operator has.
    """

    def rank(one: Endorsed) -> tuple[bool, bool]:
        known = key_fingerprint(one.certificate.public_key()) in (inventory or ())
        return one.problem is None, known

    kinds = [
        one
        if can_be_sealed_to(one.certificate.public_key())
        else Endorsed(one.certificate, one.path, _UNKNOWN_KIND)
        for one in endorsed
    ]
    return max(kinds, key=rank, default=None)


_UNKNOWN_KIND = Problem(
    "its key is of a kind that nothing can be sealed for here",
    "RSA of 2048, 3072 or 4096 bits and NIST P-256, P-384 and P-521 can be; the chip may have one",
)


def _check_request(request: x509.CertificateSigningRequest) -> Finding:
    try:
        good = request.is_signature_valid
    except UnsupportedAlgorithm:
        good = False
    if good:
        return ok(f"{name_text(request.subject)}, signed by its own key", name="request")
    return fail("its signature is not by the key in it", _REFUSE, name="request")


def _check_key(attested: AttestedRequest) -> Finding:
    area = attested.area
    if key_bytes(attested.request.public_key()) == key_bytes(area.public_key()):
        return ok(f"{area.algorithm}, the same in the request and the public area", name="key")
    return fail("the key of the request is not the key of the public area", _REFUSE, name="key")


def _check_attributes(area: PublicArea) -> Finding:
    if not area.lacks:
        words = "made in a TPM, and never to leave it (fixedTPM, fixedParent, sensitiveDataOrigin)"
        return ok(words, name="attributes")
    missing = ", ".join(area.lacks)
    return fail(
        f"the key was outside of a TPM, or may leave it: it lacks {missing}",
        _NEW_KEY,
        name="attributes",
    )


def _check_policy(area: PublicArea) -> Finding:
    """Whether only the key's own password allows its use, and no policy that others could satisfy.

    TPM2_ActivateCredential takes the password in the role ADMIN only without adminWithPolicy.
    """
    if area.attributes & _ADMIN_WITH_POLICY:
        text = "its proof takes a policy (adminWithPolicy), which is not known here"
        return fail(text, _NEW_KEY, name="policy")
    if area.policy:
        text = f"others may use it by a policy: {area.policy.hex()}"
        return fail(text, _NEW_KEY, name="policy")
    if area.name_algorithm not in _NAME_HASHES:
        text = (
            f"its Name is made with {tcg.algorithm(area.name_algorithm)}: another key may bear it"
        )
        return fail(text, _NEW_KEY, name="policy")
    return ok("no policy: it works only with its own password, in the TPM", name="policy")


def chip_words(chip: Chip) -> str:
    """Describe a chip: its maker, model and firmware."""
    if chip.manufacturer == _SIMULATED:
        maker = "SIMULATED TPM"
    else:
        maker = tcg.MANUFACTURERS.get(chip.manufacturer.upper(), chip.manufacturer)
    firmware = f"firmware {chip.version.removeprefix('id:')}" if chip.version else ""
    known = [one for one in (maker, chip.model, firmware) if one]
    return ", ".join(known) or "a chip that its certificate does not describe"


def _check_endorsement(chosen: Endorsed | None, chip: Chip) -> Finding:
    if chosen is None:
        return fail(
            "there is no endorsement certificate in the file",
            "ask the board for an attested request, and take that file as it is",
            name="endorsement",
        )
    if chosen.problem is not None:
        text = f"{chip_words(chip)}: {chosen.problem.text}"
        return fail(text, chosen.problem.remedy, name="endorsement")
    anchor = chosen.path.anchor
    by = "" if anchor is None else f", vouched for by '{name_text(anchor.subject)}'"
    return ok(f"{chip_words(chip)}{by}", name="endorsement")


def _check_inventory(fingerprint: str, board: Board | None, inventory: Inventory | None) -> Finding:
    if inventory is None:
        return warn(
            "not asked: the key is in a chip of that maker, but perhaps not in one of yours",
            "give the inventory of your chips",
            f"endorsement key {fingerprint}",
            name="inventory",
        )
    if board is None:
        return fail(
            f"no board of the inventory has this chip: endorsement key {fingerprint or 'missing'}",
            "if it is one of yours, compare the fingerprint on the board itself, and add it",
            name="inventory",
        )
    return ok(f"{board.name}: endorsement key {fingerprint}", name="inventory")


def _check_name(request: x509.CertificateSigningRequest, board: Board) -> Finding:
    names = [str(one.value) for one in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    asked = [san_entry(one) for one in general_names(request)]
    wrong = [f"CN={printable(name, 80)}" for name in names if name != board.name]
    wrong += [one for one in asked if not board.may_have(one)]
    if not names:
        wrong.append("no common name")
    if wrong:
        return fail(
            f"the chip is in '{board.name}', and the request asks for {', '.join(wrong)}",
            "refuse it; where the board may have that name, write it into the inventory",
            name="name",
        )
    return ok(f"'{board.name}', as the inventory says", name="name")
