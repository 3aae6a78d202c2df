"""From a key in the TPM to an installed certificate: request, verdicts, installation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.files import read_bounded, write_atomic

if TYPE_CHECKING:  # cryptography loads when first used: the first paint is waiting
    from cryptography import x509

    from tpmconsole.board import Board
    from tpmconsole.identity.certificate import Judgement
    from tpmconsole.identity.request import RequestSpec
    from tpmconsole.identity.store import Identity

CERTIFICATE_BYTES = 1024 * 1024


class Provision:
    """The walk's steps after the key.

    Args:
        board: whose identities they are for.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def request(
        self,
        name: str,
        spec: RequestSpec,
        password: bytes | None = None,
        out: Path | None = None,
        *,
        owner_password: bytes | None = None,
    ) -> bytes:
        """Make the certificate signing request, signed in the TPM; returns its PEM.

        Args:
            out: also written here, and first: where that fails, the old request stays.

        Raises:
            ConsoleError: the subject or a name does not parse, or the TPM refused.
        """
        from cryptography.hazmat.primitives.serialization import Encoding

        from tpmconsole.identity.request import build

        identity = self._board.identities.get(name)
        key = self._board.tpm.private_key(
            self._board.source(identity), password, owner_password=owner_password
        )
        pem = build(key, spec).public_bytes(Encoding.PEM)
        if out is not None:
            write_atomic(out, pem)
        self._board.identities.save_request(name, pem, spec.role)
        self._board.record("request", identity=name, subject=spec.subject)
        return pem

    def judge(
        self, name: str, bundles: Sequence[bytes], trust: bytes | None, role: str | None
    ) -> Judgement:
        """Check a certificate, with its chain, for an identity; installs nothing."""
        from tpmconsole.identity.certificate import judge, read_bundle

        identity = self._board.identities.get(name)
        certificates = [one for data in bundles for one in read_bundle(data)]
        installed = (
            read_bundle(read_bounded(identity.certificate, CERTIFICATE_BYTES))
            if (identity.has_certificate)
            else None
        )
        return judge(
            certificates,
            public_key=self._public_key(identity),
            trust=self._anchors(identity, trust),
            role=role or identity.role or "client",
            now=datetime.now(UTC),
            request=self._requested(identity) if identity.has_request else None,
            previous=installed[0] if installed else None,
        )

    def install(self, name: str, judgement: Judgement, trust: bytes | None) -> None:
        """Install a certificate whose verdicts are good.

        Raises:
            ConsoleError: a verdict is fail; nothing was changed.
        """
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import Encoding

        identity = self._board.identities.get(name)
        if not judgement.acceptable or judgement.leaf is None:
            failed = [one for one in judgement.verdicts if one.verdict == "fail"]
            raise ConsoleError("Certificate refused", failed[0].text, failed[0].remedy)
        chain = b"".join(one.public_bytes(Encoding.PEM) for one in judgement.chain)
        anchors = None
        if trust is not None:
            anchors = b"".join(
                one.public_bytes(Encoding.PEM) for one in self._anchors(identity, trust)
            )
        self._board.identities.install(name, chain, anchors)
        fingerprint = judgement.leaf.fingerprint(hashes.SHA256()).hex()
        self._board.record("import", identity=name, certificate=fingerprint)

    def demo_sign(self, name: str) -> Judgement:
        """Let the simulator's throw-away CA sign the request, and import what it gives.

        Raises:
            ConsoleError: this TPM is no simulator, or there is no request yet.
        """
        from tpmconsole.identity.demo_ca import DemoCa

        identity = self._board.identities.get(name)
        self._need_simulator()
        if not identity.has_request:
            raise ConsoleError(
                "No request", f"'{name}' has no request to sign", f"run: tpmconsole request {name}"
            )
        ca = DemoCa(self._board.settings.simulator / "demo-ca")
        chain, trust = ca.sign(self._requested(identity))
        judgement = self.judge(name, [chain], trust, None)
        self.install(name, judgement, trust)
        return judgement

    def _need_simulator(self) -> None:
        if not self._board.status().simulated:
            raise ConsoleError(
                "Not on a real TPM",
                "the demo CA signs for the simulated TPM only",
                "hand the request to your own CA, or add --simulate",
                ExitCode.REFUSED,
            )

    def _requested(self, identity: Identity) -> x509.CertificateSigningRequest:
        from cryptography import x509

        data = read_bounded(identity.request, CERTIFICATE_BYTES)
        try:
            return x509.load_pem_x509_csr(data)
        except ValueError as error:
            raise ConsoleError(
                "Request damaged",
                f"{identity.request} is no request any more",
                f"make it again: tpmconsole request {identity.name}",
            ) from error

    def _anchors(self, identity: Identity, trust: bytes | None) -> list[x509.Certificate]:
        from tpmconsole.identity.certificate import read_bundle

        if trust is not None:
            return read_bundle(trust)
        return self._board.identities.trust_certificates(identity.name)

    def _public_key(self, identity: Identity) -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        return load_pem_public_key(self._board.tpm.public_pem(self._board.source(identity)))
