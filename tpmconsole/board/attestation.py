"""The CA's side of an enrolment that proves where the key is; needs no TPM, no TSS and no state.

A CA gives a certificate to what it has judged itself: each function here reads the attested request
and the makers' CAs anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError, usage_error
from tpmconsole.finding import Finding, fail, ok, warn
from tpmconsole.inputs import CERTIFICATE_BYTES
from tpmconsole.system.files import PUBLIC_FILE, read_bounded, remove, write_out
from tpmconsole.text import printable

if TYPE_CHECKING:
    from cryptography import x509

    from tpmconsole.enrol.credential import EndorsementPublicKey
    from tpmconsole.enrol.files import AttestedRequest
    from tpmconsole.enrol.judge import Judgement

_MAKER_FILES = 2000
_MAKER_BYTES = 1024 * 1024
_ENDINGS = (".pem", ".crt", ".cer", ".cert", ".der", ".p7b", ".p7c")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a CA goes by.

    Attributes:
        request: the attested request's file.
        makers: a folder, or one file, with the CAs of makers of chips that it trusts.
        inventory: which chip is in which board, a file; None where it keeps none.
    """

    request: Path
    makers: Path
    inventory: Path | None = None


def check(evidence: Evidence) -> Judgement:
    """Judge an attested request.

    Raises:
        ConsoleError: a file cannot be read.
    """
    return _judged(evidence)[1]


def seal(evidence: Evidence, certificates: Sequence[Path], out: Path) -> Judgement:
    """Encrypt the certificate that was issued for an attested request: only its key can open it.

    Args:
        certificates: its file, and those of its chain.
        out: where the sealed file is written.

    Raises:
        ConsoleError: a file cannot be read or written, a verdict is fail, or the certificate is
            for another key.
    """
    from tpmconsole.enrol import sealing

    attested, judgement, key = _believed(evidence)
    pem = _chain_pem(attested, [read_bounded(one, CERTIFICATE_BYTES) for one in certificates])
    write_out(out, sealing.seal(attested, key, pem).to_pem(), PUBLIC_FILE)
    return judgement


def challenge(evidence: Evidence, out: Path, keep: Path) -> Judgement:
    """Ask a board to prove itself before a certificate is made.

    Args:
        out: where the challenge is written, for the board.
        keep: where the answer that is expected is written, for the CA alone.

    Raises:
        ConsoleError: a file cannot be read or written, or a verdict is fail.
    """
    from tpmconsole.enrol import sealing
    from tpmconsole.enrol.files import EXPECTED

    attested, judgement, key = _believed(evidence)
    asked = sealing.challenge(attested, key)
    write_out(keep, asked.expected.to_pem(EXPECTED))
    write_out(out, asked.pem, PUBLIC_FILE)
    return judgement


def verify(request: Path, answer: Path, keep: Path) -> Finding:
    """Whether a board has answered the challenge; a right answer is taken once.

    Args:
        request: the attested request that the challenge was made for.
        answer: what the board sent.
        keep: what ``challenge`` kept; removed where the answer is right.

    Raises:
        ConsoleError: a file cannot be read, or nothing was kept (any more).
    """
    from tpmconsole.enrol.files import EXPECTED, read_answer, read_attested
    from tpmconsole.enrol.sealing import is_answer

    attested = read_attested(read_bounded(request, CERTIFICATE_BYTES))
    given = read_answer(read_bounded(answer, CERTIFICATE_BYTES))
    if not keep.exists():
        raise ConsoleError(
            "No challenge",
            f"{keep}: nothing is kept there; a challenge is answered once",
            "make a new challenge for this request",
        )
    expected = read_answer(read_bounded(keep, CERTIFICATE_BYTES), EXPECTED)
    if expected.request != attested.digest:
        return fail(
            "the challenge was made for another request",
            "name the file that was kept for this one",
            name="answer",
        )
    if not is_answer(given, expected):
        return fail(
            "it is not the answer to this challenge",
            "give no certificate; make a new challenge, and have the board answer that",
            name="answer",
        )
    remove(keep)
    return ok("the key of this request is in that chip: only it could answer", name="answer")


def judge_for_demo(request: bytes, makers: Sequence[Path]) -> tuple[AttestedRequest, Judgement]:
    """An attested request as the simulator's CA judges it.

    Args:
        request: the file's content.
        makers: the certificates of the simulator's maker; none where it has none.
    """
    from tpmconsole.enrol.files import read_attested
    from tpmconsole.enrol.judge import judge_attested

    attested = read_attested(request)
    trusted = [one for path in makers for one in _authorities(path)]
    return attested, judge_attested(attested, trusted, None, datetime.now(UTC))


def refused(judgement: Judgement) -> ConsoleError | None:
    """The first verdict that speaks against a request, as an error; None where none does."""
    for one in judgement.verdicts:
        if one.state == "fail":
            return ConsoleError("Request refused", f"{one.name}: {one.text}", one.remedy)
    return None


def _believed(evidence: Evidence) -> tuple[AttestedRequest, Judgement, EndorsementPublicKey]:
    attested, judgement = _judged(evidence)
    if (error := refused(judgement)) is not None:
        raise error
    assert judgement.key is not None  # noqa: S101 - the endorsement has been believed
    return attested, judgement, judgement.key


def _judged(evidence: Evidence) -> tuple[AttestedRequest, Judgement]:
    from tpmconsole.enrol.files import read_attested
    from tpmconsole.enrol.inventory import MAX_BYTES, read_inventory
    from tpmconsole.enrol.judge import judge_attested

    attested = read_attested(read_bounded(evidence.request, CERTIFICATE_BYTES))
    boards = None
    if evidence.inventory is not None:
        boards = read_inventory(read_bounded(evidence.inventory, MAX_BYTES))
    makers, left_out = read_makers(evidence.makers)
    judgement = judge_attested(attested, makers, boards, datetime.now(UTC))
    if left_out:
        judgement = replace(judgement, verdicts=(*judgement.verdicts, _not_read(left_out)))
    return attested, judgement


def _not_read(left_out: Sequence[Path]) -> Finding:
    count, first = len(left_out), printable(left_out[0].name, 80)
    return warn(
        f"{count} files in the folder of makers hold no certificate of a CA that can be read, such "
        f"as {first}",
        "replace or remove them; chips of those makers are not believed",
        name="makers",
    )


def read_makers(place: Path) -> tuple[list[x509.Certificate], list[Path]]:
    """The CAs of makers of chips in a folder and the folders below it, or in one file.

    Returns:
        the CAs, and the files named as certificates are that hold none.

    Raises:
        ConsoleError: there is no such place, or no CA in it.
    """
    found: list[x509.Certificate] = []
    left_out: list[Path] = []
    for path in _files(place):
        authorities = _authorities(path)
        found += authorities
        if not authorities:
            left_out.append(path)
    if not found:
        raise usage_error(
            "No makers",
            f"{place}: there is no certificate of a CA in it",
            "put the root certificates of the makers that you trust there, as PEM or DER "
            "(Debian's ruby-tpm-key-attestation has those of the well-known ones)",
        )
    return list(dict.fromkeys(found)), left_out


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        read_bounded(place, _MAKER_BYTES)  # whose error tells what is wrong with it
        return [place]
    found: list[Path] = []
    for path in _walk(place):
        if len(found) >= _MAKER_FILES:
            raise usage_error(
                "Too many makers",
                f"{place}: there are more than {_MAKER_FILES} certificates below it",
                "name the folder with the makers' certificates alone",
            )
        found.append(path)
    return found


def _walk(place: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(place):
        for name in sorted(names):
            if name.lower().endswith(_ENDINGS):
                yield Path(folder, name)


def _authorities(path: Path) -> list[x509.Certificate]:
    from tpmconsole.x509.as_signed import read_certificate
    from tpmconsole.x509.bundle import look_inside, read_bundle
    from tpmconsole.x509.chain import is_ca

    try:
        data = read_bounded(path, _MAKER_BYTES)
        try:
            found = read_bundle(data)
        except ConsoleError:  # alone in its file, its names may be in another order
            found = [read_certificate(_der(data))]
            look_inside(found[0], path.name)
    except (ConsoleError, ValueError):
        return []
    return [one for one in found if is_ca(one)]


def _der(data: bytes) -> bytes:
    """The first certificate in a PEM file; anything else as it is."""
    from tpmconsole.enrol.files import CERTIFICATE, blocks

    found = (body for label, body in blocks(data) if label == CERTIFICATE)
    return next(found, data)


def _chain_pem(attested: AttestedRequest, files: Sequence[bytes]) -> bytes:
    """The certificates to seal, the key's own first.

    Raises:
        ConsoleError: none is for the key of the request.
    """
    from tpmconsole.x509.bundle import read_bundle
    from tpmconsole.x509.names import key_bytes, pem

    certificates = list(dict.fromkeys(one for data in files for one in read_bundle(data)))
    wanted = key_bytes(attested.request.public_key())
    certificates.sort(key=lambda one: key_bytes(one.public_key()) != wanted)
    if key_bytes(certificates[0].public_key()) != wanted:
        raise ConsoleError(
            "Not sealed",
            "none of the certificates is for the key of this request",
            "name the certificate that was issued for it",
        )
    return pem(certificates)
