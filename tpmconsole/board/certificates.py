"""From what a CA sent to an installed certificate: verdicts, installation, trust anchors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tpmconsole.board.requests import CERTIFICATE_BYTES
from tpmconsole.errors import ConsoleError, ExitCode, usage_error
from tpmconsole.system.files import read_bounded
from tpmconsole.text import printable
from tpmconsole.tpm.auth import NO_AUTH, Auth

if TYPE_CHECKING:  # cryptography loads when first used: the first paint is waiting
    from cryptography import x509

    from tpmconsole.board import Board
    from tpmconsole.identity.store import Identity
    from tpmconsole.x509.judge import CertificateInfo, Judgement, Proof

# Enough of a fingerprint to name a trust anchor by: 32 bits would be guessed, 64 are not.
FINGERPRINT_DIGITS = 16


class Installer:
    """The walk back from the CA.

    Args:
        board: whose identities they are for.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def judge(
        self,
        name: str,
        bundles: Sequence[bytes],
        trust: bytes | None,
        role: str | None,
        auth: Auth = NO_AUTH,
    ) -> Judgement:
        """Check a certificate, with its chain, for an identity; installs nothing.

        Args:
            trust: trust anchors that came with it; they are added to those that are installed.
            auth: for the key to prove itself.

        Raises:
            ConsoleError: something is no certificate, or the TPM does not answer or refuses.
        """
        from tpmconsole.identity.kept import kept_certificate, kept_request, unless_damaged
        from tpmconsole.x509.judge import judge, read_bundle

        identity = self._board.identities.get(name)
        certificates = [one for data in bundles for one in read_bundle(data)]
        offered = read_bundle(trust) if trust is not None else []
        return judge(
            certificates,
            public_key=self._board.provision.public_key(identity),
            trust=self._anchors(identity, replaceable=bool(offered)),
            offered=offered,
            role=role or identity.role or "client",
            now=datetime.now(UTC),
            proof=self._proof(identity, auth),
            request=unless_damaged(lambda: kept_request(identity)),
            previous=unless_damaged(lambda: kept_certificate(identity)),
            soon=timedelta(days=self._board.settings.warn_days),
            made=identity.made,
        )

    def install(self, name: str, judgement: Judgement) -> bool:
        """Install a certificate whose verdicts are good, and trust the anchors it was judged by.

        Returns:
            Whether that changed anything: not where just this is installed already.

        Raises:
            ConsoleError: a verdict is fail; nothing was changed.
        """
        from tpmconsole.x509.names import pem

        if judgement.acceptable and not judgement.added and self._has(name, judgement.chain):
            return False
        with self._board.recording("import", **_import_facts(name, judgement)):
            if not judgement.acceptable:
                failed = [one for one in judgement.verdicts if one.verdict == "fail"]
                raise ConsoleError("Certificate refused", failed[0].text, failed[0].remedy)
            # With those that are trusted now: it may be a while since the verdicts were read.
            known = self._anchors(self._board.identities.get(name), replaceable=True)
            added = [one for one in judgement.added if one not in known]
            anchors = pem([*known, *added]) if added else None
            self._board.identities.install(name, pem(judgement.chain), anchors)
        return True

    def _has(self, name: str, chain: Sequence[x509.Certificate]) -> bool:
        """Whether just this is the installed certificate with its chain."""
        from tpmconsole.x509.names import pem

        identity = self._board.identities.get(name)
        return identity.has_certificate and pem(chain) == read_bounded(
            identity.certificate, CERTIFICATE_BYTES
        )

    def refuse(self, name: str, judgement: Judgement) -> None:
        """Write down that a certificate was to be installed and was not."""
        failed = " ".join(one.check for one in judgement.verdicts if one.verdict == "fail")
        facts = _import_facts(name, judgement)
        self._board.record("import", **facts, result=f"refused: {failed or 'by the user'}")

    def undo(self, name: str) -> CertificateInfo:
        """Go back to the certificate and the trust anchors before the last import, once.

        Returns:
            The certificate that is installed now.

        Raises:
            ConsoleError: nothing was kept to go back to.
        """
        from tpmconsole.identity.kept import kept_certificate
        from tpmconsole.x509.judge import describe

        with self._board.recording("undo import", identity=name) as facts:
            identity = self._board.identities.undo_install(name)
            certificate = kept_certificate(identity)
            assert certificate is not None  # noqa: S101  (undo_install has put it there)
            now = describe(certificate)
            facts["certificate"] = now.fingerprint
        return now

    def roots_in(self, bundles: Sequence[bytes]) -> bytes:
        """The roots that came in a bundle, PEM: no anchors, but somebody may say that they are."""
        from tpmconsole.x509.bundle import read_bundle
        from tpmconsole.x509.chain import is_ca, is_self_signed
        from tpmconsole.x509.names import pem

        certificates = (one for data in bundles for one in read_bundle(data))
        return pem(one for one in certificates if is_self_signed(one) and is_ca(one))

    def kept_before(self, name: str) -> CertificateInfo | None:
        """The certificate that ``undo`` would go back to; None where none was kept."""
        from tpmconsole.identity.identity import previous
        from tpmconsole.x509.bundle import read_bundle
        from tpmconsole.x509.judge import describe

        path = previous(self._board.identities.get(name).certificate)
        if not path.is_file():
            return None
        return describe(read_bundle(read_bounded(path, CERTIFICATE_BYTES))[0])

    # The trust anchors

    def new_anchors(self, name: str, data: bytes) -> list[CertificateInfo]:
        """What is in a file of trust anchors and not trusted yet; adds nothing.

        Raises:
            ConsoleError: there is no certificate in it, or one that nobody can be trusted by.
        """
        from tpmconsole.x509.bundle import read_bundle
        from tpmconsole.x509.chain import may_be_trusted
        from tpmconsole.x509.judge import describe

        known = self._anchors(self._board.identities.get(name), replaceable=True)
        new = [one for one in read_bundle(data) if one not in known]
        for one in new:
            if not may_be_trusted(one):
                facts = describe(one)
                raise ConsoleError(
                    "No CA certificate",
                    f"'{facts.subject}' is no CA: '{facts.issuer}' issued it",
                    f"you need the CA's own certificate, that of '{facts.issuer}'",
                )
        return [describe(one) for one in new]

    def add_anchors(self, name: str, data: bytes) -> None:
        """Trust the CAs in a file as well; somebody has compared their fingerprints.

        Raises:
            ConsoleError: there is no certificate in it, or it cannot be kept.
        """
        from tpmconsole.x509.bundle import read_bundle
        from tpmconsole.x509.names import fingerprint

        anchors = read_bundle(data)
        which = " ".join(map(fingerprint, anchors))
        with self._board.recording("add trust", identity=name, trust=which):
            self._board.identities.add_anchors(name, anchors)

    def trust(self, name: str) -> list[CertificateInfo]:
        """The trust anchors of an identity.

        Raises:
            ConsoleError: they are damaged.
        """
        from tpmconsole.x509.judge import describe

        return [describe(one) for one in self._board.identities.trust_certificates(name)]

    def anchor(self, name: str, which: str) -> CertificateInfo:
        """One of the trust anchors.

        Args:
            which: its SHA-256 fingerprint, or at least the first 16 digits of it.

        Raises:
            ConsoleError: there is no such anchor.
        """
        start = which.lower().replace(":", "")
        found = [one for one in self.trust(name) if one.fingerprint.startswith(start)]
        if len(start) < FINGERPRINT_DIGITS or len(found) != 1:
            raise usage_error(
                "No such trust anchor",
                f"'{printable(which)}' is the fingerprint of none of '{name}'",
                f"see: tpmconsole trust {name}; give at least {FINGERPRINT_DIGITS} digits",
            )
        return found[0]

    def remove_anchor(self, name: str, which: str) -> None:
        """Trust a CA no more; arguments and errors as ``anchor``."""
        gone = self.anchor(name, which).fingerprint
        with self._board.recording("remove trust", identity=name, trust=gone):
            self._board.identities.drop_anchor(name, gone)

    # The simulator's CA

    def demo_sign(self, name: str, auth: Auth = NO_AUTH) -> Judgement:
        """Let the simulator's throw-away CA sign the request, and import what it gives.

        Args:
            auth: for the key to prove itself.

        Raises:
            ConsoleError: this TPM is no simulator, or there is no request yet.
        """
        from tpmconsole.identity.kept import kept_request
        from tpmconsole.x509.demo_ca import DemoCa

        request = kept_request(self._board.identities.get(name))
        self._need_simulator()
        if request is None:
            raise ConsoleError(
                "No request", f"'{name}' has no request to sign", f"run: tpmconsole request {name}"
            )
        ca = DemoCa(self._board.settings.simulator / "demo-ca")
        chain, trust = ca.sign(request)
        judgement = self.judge(name, [chain], trust, None, auth)
        self.install(name, judgement)
        return judgement

    def _need_simulator(self) -> None:
        if not self._board.status().simulated:
            raise ConsoleError(
                "Not on a real TPM",
                "the demo CA signs for the simulated TPM only",
                "hand the request to your own CA, or add --simulate",
                ExitCode.REFUSED,
            )

    # What an identity holds

    def _anchors(self, identity: Identity, *, replaceable: bool) -> list[x509.Certificate]:
        """The installed anchors; damaged ones are none where others are there to replace them."""
        try:
            return self._board.identities.trust_certificates(identity.name)
        except ConsoleError:
            if not replaceable:
                raise
            return []

    def _proof(self, identity: Identity, auth: Auth) -> Proof:
        from tpmconsole.x509.judge import Proof

        if identity.auth == "password" and not auth.key:
            return Proof(None)
        key = self._board.tpm.private_key(self._board.source(identity), auth)
        return Proof(key, self._board.provision.fixed_scheme(identity))


def _import_facts(name: str, judgement: Judgement) -> dict[str, str | None]:
    """An import as the audit record tells it: fingerprints, and nothing else of a certificate."""
    from tpmconsole.x509.names import fingerprint

    facts: dict[str, str | None] = {"identity": name}
    if judgement.leaf is not None:
        facts["certificate"] = fingerprint(judgement.leaf)
    if judgement.added:
        facts["trust"] = " ".join(map(fingerprint, judgement.added))
    return facts
