"""The step of the tour in which a key in software claims to be in a chip."""

from __future__ import annotations

import struct
import time
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tpmconsole.board.attestation import judge_for_demo
from tpmconsole.board.certificates import judge_certificate
from tpmconsole.board.enrolment import attest_request
from tpmconsole.board.tour.stage import DEVICE, SOFTWARE_DEVICE, Stage
from tpmconsole.board.tour.steps import took
from tpmconsole.board.tour.story import Outcome
from tpmconsole.enrol.files import AttestedRequest
from tpmconsole.enrol.judge import Judgement
from tpmconsole.enrol.sealing import seal
from tpmconsole.errors import ConsoleError
from tpmconsole.finding import Finding
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.keyfile.public_area import PublicArea

_NEVER_OUTSIDE = public_area.FIXED_TPM | public_area.FIXED_PARENT | public_area.MADE_IN_TPM
_POINT_BYTES = 2 * (2 + 32)  # at the end of a P-256 key's public area (Part 2, 12.2.4)


def claim(stage: Stage) -> Outcome:
    """An honest device proves where its key is; a liar tries to."""
    stage.key(DEVICE)
    stage.request(DEVICE)
    try:
        file = attest_request(stage.board, DEVICE).pem
    except ConsoleError as error:  # not every chip has certificates of its maker
        cause = f"{error.cause}; such a chip proves nothing to a CA"
        return Outcome((Finding("Device", "NO PROOF", cause),))
    honest, judged = judge_for_demo(file, stage.board.simulator.maker.certificates())
    if judged.key is None:
        return Outcome((Finding("CA", "REFUSES", _why(judged)),))
    key = ec.generate_private_key(ec.SECP256R1())
    plain = _lie(honest, key, honest.area.attributes & ~_NEVER_OUTSIDE)
    return Outcome(
        (
            Finding("Device", "OK", _opens(stage, honest, judged)),
            Finding("Liar", "REFUSED", f"by the CA: {_why(_judged(stage, plain))}"),
            *_forgery(stage, _lie(honest, key, honest.area.attributes)),
        )
    )


def _opens(stage: Stage, attested: AttestedRequest, judged: Judgement) -> str:
    """The certificate of the device, issued, encrypted and opened."""
    assert judged.key is not None  # noqa: S101 - it was accepted
    chain, root = stage.ca.sign(attested.request)
    begun = time.perf_counter()
    sealed = seal(attested, judged.key, chain).to_pem()
    judge_certificate(stage.board, DEVICE, [sealed], root, None)
    return f"the CA encrypts its certificate for it; the chip opens that in {took(begun)}"


def _forgery(stage: Stage, forged: AttestedRequest) -> tuple[Finding, ...]:
    """A description that claims what is not true: nobody has the key that it describes."""
    judged = _judged(stage, forged)
    if judged.key is None:
        return (Finding("Forgery", "REFUSED", f"by the CA: {_why(judged)}"),)
    sealed = seal(forged, judged.key, stage.ca.sign(forged.request)[0])
    # It names its key; the forger writes the device's key in, so that the chip has to decide.
    name = stage.board.tpm.read_public(stage.board.source(stage.key(DEVICE))).name
    tried = replace(sealed, envelope=replace(sealed.envelope, name=name)).to_pem()
    try:
        judge_certificate(stage.board, DEVICE, [tried], None, None)
    except ConsoleError as error:
        code = "" if error.response_code is None else f" (response code 0x{error.response_code:x})"
        opened = Finding("Opens it?", "REFUSED", f"by the chip{code}: it holds no such key")
    else:
        opened = Finding("Opens it?", "WORKS", "the chip has opened it")
    text = "the liar writes 'never leaves its TPM' into the key; the CA cannot see that, and seals"
    return Finding("Forgery", "SEALED", text), opened


def _judged(stage: Stage, attested: AttestedRequest) -> Judgement:
    return judge_for_demo(attested.to_pem(), stage.board.simulator.maker.certificates())[1]


def _why(judged: Judgement) -> str:
    return next(one.text for one in judged.verdicts if one.state == "fail")


def _lie(
    honest: AttestedRequest, key: ec.EllipticCurvePrivateKey, attributes: int
) -> AttestedRequest:
    """The request of a key in software, with the certificates of the device's chip."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SOFTWARE_DEVICE)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    area = _area_of(honest.area, key.public_key(), attributes)
    return replace(honest, request=request.sign(key, hashes.SHA256()), area=area)


def _area_of(like: PublicArea, key: ec.EllipticCurvePublicKey, attributes: int) -> PublicArea:
    """The public area of another P-256 key, with other attributes."""
    numbers = key.public_numbers()
    point = b"".join(
        struct.pack(">H", 32) + number.to_bytes(32, "big") for number in (numbers.x, numbers.y)
    )
    begin, rest = like.encoded[:4], like.encoded[8:-_POINT_BYTES]
    return public_area.decode(begin + struct.pack(">I", attributes) + rest + point)
