"""Check what a CA sent, install the certificate with its trust anchors, undo an import."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tpmconsole.board.enrolment import open_sealed
from tpmconsole.board.open_key import OpenKey, checked_source, open_key
from tpmconsole.board.pins import check_pin
from tpmconsole.board.plan import Plan
from tpmconsole.board.requests import request_pem
from tpmconsole.board.trust import known_anchors
from tpmconsole.clock import moment
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.inputs import CERTIFICATE_BYTES
from tpmconsole.system.files import read_bounded
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.handles import PERSISTENT_FIRST

if TYPE_CHECKING:  # cryptography loads when first used: the first paint is waiting
    from cryptography import x509

    from tpmconsole.board import Board
    from tpmconsole.finding import Finding
    from tpmconsole.identity.attestation import Attestation
    from tpmconsole.identity.store import Identity
    from tpmconsole.x509.demo_ca import DemoCa
    from tpmconsole.x509.judge import CertificateInfo, Judgement, Proof


def judge_certificate(
    board: Board,
    name: str,
    bundles: Sequence[bytes],
    trust: bytes | None,
    role: str | None,
    auth: Auth = NO_AUTH,
) -> Judgement:
    """Check a certificate, with its chain, for an identity; installs nothing.

    Args:
        bundles: what the CA sent; what is sealed for the key is opened by the TPM.
        trust: trust anchors that came with it; they are added to those that are installed.
        auth: what using the key needs, so that it can be tested and open what is sealed for it.

    Raises:
        ConsoleError: something is not a certificate, the TPM does not answer or refuses, or the
            key is not the one that the identity was given.
    """
    from tpmconsole.board.addresses import reached_at
    from tpmconsole.identity.identity import kept_certificate, kept_request, unless_damaged
    from tpmconsole.x509.judge import judge, read_bundle

    identity = board.identities.get(name)
    key = open_key(board, identity)
    opened = [open_sealed(board, identity, key, data, auth) for data in bundles]
    offered = read_bundle(trust) if trust is not None else []
    judgement = judge(
        [one for data, _ in opened for one in read_bundle(data)],
        public_key=key.public,
        trust=known_anchors(board, identity, replaceable=bool(offered)),
        offered=offered,
        role=role or identity.role or "client",
        now=datetime.now(UTC),
        origin=_origin(board, identity, key, auth),
        proof=_proof(board, identity, key, auth),
        request=unless_damaged(lambda: kept_request(identity)),
        previous=unless_damaged(lambda: kept_certificate(identity)),
        soon=timedelta(days=board.settings.warn_days),
        made=identity.made,
        reached=reached_at(board, name),
    )
    return _noted(board, judgement, opened)


def _noted(
    board: Board, judgement: Judgement, opened: Sequence[tuple[bytes, Attestation | None]]
) -> Judgement:
    """The same with a word on how the certificate came, where only this TPM could open it."""
    from tpmconsole.finding import ok
    from tpmconsole.x509.judge import read_bundle
    from tpmconsole.x509.names import fingerprint

    for data, attestation in opened:
        if attestation is not None and judgement.leaf in read_bundle(data):
            assert judgement.leaf is not None  # noqa: S101 - it is one of the file's
            board.attested[fingerprint(judgement.leaf)] = attestation
            text = f"only this key in this TPM could open it ({attestation.chip})"
            return judgement.also(ok(text, name="sealed"))
    return judgement


def install_certificate(board: Board, name: str, judgement: Judgement) -> bool:
    """Install a certificate that passed its checks, and trust the anchors used to check it.

    Returns:
        Whether that changed anything; false if exactly this is installed already.

    Raises:
        ConsoleError: a check failed, or the key is not the one that the identity was given;
            nothing was changed.
    """
    from tpmconsole.x509.names import pem

    attestation = _attestation(board, judgement)
    known_proof = attestation is None or board.identities.get(name).attestation is not None
    same = known_proof and not judgement.added and _has(board, name, judgement.chain)
    if judgement.acceptable and same:
        return False
    with board.recording("import", **_import_facts(name, judgement)):
        if not judgement.acceptable:
            failed = [one for one in judgement.verdicts if one.state == "fail"]
            raise ConsoleError("Certificate refused", failed[0].text, failed[0].remedy)
        identity = board.identities.get(name)
        checked_source(board, identity)  # the user may have read the verdicts long ago
        known = known_anchors(board, identity, replaceable=True)
        added = [one for one in judgement.added if one not in known]
        anchors = pem([*known, *added]) if added else None
        board.identities.install(name, pem(judgement.chain), anchors, attestation)
    return True


def _attestation(board: Board, judgement: Judgement) -> tuple[Attestation, str] | None:
    """What the certificate's way here has proved of the key, and its fingerprint."""
    from tpmconsole.x509.names import fingerprint

    if judgement.leaf is None:
        return None
    mark = fingerprint(judgement.leaf)
    return (board.attested[mark], mark) if mark in board.attested else None


def _has(board: Board, name: str, chain: Sequence[x509.Certificate]) -> bool:
    """Whether exactly this certificate and chain is installed."""
    from tpmconsole.x509.names import pem

    identity = board.identities.get(name)
    return identity.has_certificate and pem(chain) == read_bounded(
        identity.certificate, CERTIFICATE_BYTES
    )


def refuse_certificate(board: Board, name: str, judgement: Judgement) -> None:
    """Record that a certificate was not installed, and why."""
    failed = " ".join(one.name for one in judgement.verdicts if one.state == "fail")
    facts = _import_facts(name, judgement)
    board.record("import", **facts, result=f"refused: {failed or 'by the user'}")


def undo_import(board: Board, name: str) -> CertificateInfo:
    """Go back to the certificate and the trust anchors before the last import, once.

    Returns:
        The certificate that is installed now.

    Raises:
        ConsoleError: nothing was kept to go back to.
    """
    from tpmconsole.identity.identity import kept_certificate
    from tpmconsole.x509.judge import describe

    with board.recording("undo import", identity=name) as facts:
        identity = board.identities.undo_install(name)
        certificate = kept_certificate(identity)
        assert certificate is not None  # noqa: S101  (undo_install has put it there)
        now = describe(certificate)
        facts["certificate"] = now.fingerprint
    return now


def kept_before(board: Board, name: str) -> CertificateInfo | None:
    """The certificate that ``undo`` would restore; None if no earlier one was kept."""
    from tpmconsole.identity.identity import certificate_before
    from tpmconsole.x509.judge import describe

    certificate = certificate_before(board.identities.get(name))
    return None if certificate is None else describe(certificate)


# The simulator's CA


def demo_sign(board: Board, name: str, auth: Auth = NO_AUTH) -> Judgement:
    """Let the simulator's throw-away CA sign the request, and import the certificate.

    An attested request it judges first, and it seals what it gives: only this key in this TPM
    opens that.

    Args:
        auth: what using the key needs, so that it can be tested and open what is sealed for it.

    Raises:
        ConsoleError: this TPM is not a simulator, there is no request yet, or the request is
            attested and its proof fails.
    """
    from tpmconsole.identity.identity import kept_request
    from tpmconsole.x509.demo_ca import DemoCa

    request = kept_request(board.identities.get(name))
    _need_simulator(board)
    if request is None:
        raise ConsoleError(
            "No request",
            f"'{name}' has no request to sign",
            NextStep(Action.REQUEST, name, "run: {}"),
        )
    ca = DemoCa(board.settings.simulator / "demo-ca")
    chain, trust = _signed(board, name, ca, request)
    judgement = judge_certificate(board, name, [chain], trust, None, auth)
    install_certificate(board, name, judgement)
    return judgement


def _signed(
    board: Board, name: str, ca: DemoCa, request: x509.CertificateSigningRequest
) -> tuple[bytes, bytes]:
    """The certificate, sealed where the request is attested, and the trust anchor."""
    from tpmconsole.board.attestation import judge_for_demo, refused
    from tpmconsole.enrol.files import is_attested
    from tpmconsole.enrol.sealing import seal

    pem = request_pem(board, name)
    if not is_attested(pem):
        return ca.sign(request)
    attested, judged = judge_for_demo(pem, board.simulator.maker.certificates())
    if (error := refused(judged)) is not None:
        raise error
    assert judged.key is not None  # noqa: S101 - the endorsement has been believed
    chain, trust = ca.sign(request)
    return seal(attested, judged.key, chain).to_pem(), trust


def _need_simulator(board: Board) -> None:
    if not board.status().simulated:
        raise ConsoleError(
            "Not on a real TPM",
            "the demo CA signs for the simulated TPM only",
            NextStep(Action.USE_SIMULATOR, text="hand the request to your own CA, or {}"),
            ExitCode.REFUSED,
        )


# What an identity holds


def _untried(identity: Identity, auth: Auth) -> bool:
    """Whether the key needs a password that has not been given yet."""
    return identity.auth == "password" and not auth.key


def _origin(board: Board, identity: Identity, key: OpenKey, auth: Auth) -> Finding:
    """The origin of the key, as the TPM itself says now. It loads a key file for that.

    Raises:
        ConsoleError: as the key check would raise.
        KeyChangedError: it is not the key that the identity was given.
    """
    from tpmconsole.x509.comparisons import check_origin, origin_not_asked

    try:
        if _untried(identity, auth):
            _check_harmless(key)
        area = key.area if key.ref.pem is None else board.tpm.read_public(key.ref, auth)
    except ConsoleError as error:
        if not _untried(identity, auth):
            raise
        return origin_not_asked(error.cause, error.remedy)
    check_pin(identity, area)
    return check_origin(identity.origin, area.lacks)


def _check_harmless(key: OpenKey) -> None:
    """Refuse to load a key without its password if loading alone could cost an attempt.

    Raises:
        ConsoleError: it could.
    """
    from tpmconsole.tpm import keyfile

    if key.ref.pem is None:
        return
    parent = keyfile.parse(key.ref.pem).parent
    if parent >= PERSISTENT_FIRST:
        raise ConsoleError(
            "Not asked",
            f"its parent 0x{parent:08x} may have a password, and a wrong one would count",
            NextStep(
                Action.GIVE_KEY_PASSWORD, text="give the key's password, then it is loaded: {}"
            ),
        )


def _proof(board: Board, identity: Identity, key: OpenKey, auth: Auth) -> Proof:
    from tpmconsole.x509.judge import Proof

    if _untried(identity, auth):
        return Proof(None)
    return Proof(key.private(board, auth), key.scheme)


def _import_facts(name: str, judgement: Judgement) -> dict[str, str | None]:
    """An import for the audit record: fingerprints, and nothing else from a certificate."""
    from tpmconsole.x509.names import fingerprint

    facts: dict[str, str | None] = {"identity": name}
    if judgement.leaf is not None:
        facts["certificate"] = fingerprint(judgement.leaf)
    if judgement.added:
        facts["trust"] = " ".join(map(fingerprint, judgement.added))
    return facts


def plan_undo(board: Board, name: str) -> Plan[CertificateInfo] | None:
    """Plan to restore the certificate before the last import; None if none was kept."""
    from tpmconsole.identity.identity import kept_certificate, unless_damaged
    from tpmconsole.x509.judge import describe

    before = kept_before(board, name)
    if before is None:
        return None
    leaf = unless_damaged(lambda: kept_certificate(board.identities.get(name)))
    now = describe(leaf) if leaf else None
    what = f" {now.subject}, until {moment(now.not_after)}," if now else ", which cannot be read,"
    return Plan(
        title=f"Undo the import of {name}",
        losses=(f"The certificate{what} is lost, and the CAs that came with it.",),
        question=f"Go back to {before.subject}, until {moment(before.not_after)}?",
        doing="going back",
        apply=lambda _: undo_import(board, name),
        subject=name,
    )
