"""Sessions of a benchmark: identities by a CA of its own, on the benchmark's TPM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.pki import Ca, SoftwareIdentity
from support.tpm_capture import captured

from tpmconsole.board import Board
from tpmconsole.session.manager import SessionManager
from tpmconsole.session.spec import Credentials, SessionSpec
from tpmconsole.session.status import SessionStatus
from tpmconsole.tpm.keys import private_key
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef

LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class World:
    """One key in the TPM with its certificate, a software peer, and what starts sessions."""

    folder: Path
    connection: Connection
    credentials: Credentials
    peer: SoftwareIdentity
    supervisor: SessionManager

    @classmethod
    def make(cls, board: Board, folder: Path) -> World:
        """A world in a folder, with an EC P-256 key."""
        board.status()
        connection = board.tpm.connection
        assert connection is not None
        key = KeyRef(pem=board.tpm.create(Algorithm.EC_P256))
        ca, ours = Ca.make("bench CA"), folder / "ours"
        peer = SoftwareIdentity.make(folder / "peer", ca, "peer")
        ours.mkdir()
        public = private_key(board.tpm, key).public_key()
        (ours / "certificate.pem").write_bytes(ca.issue(public, "tpm"))
        (ours / "trust.pem").write_bytes(ca.pem)
        credentials = Credentials("bench", key, ours / "certificate.pem", ours / "trust.pem")
        supervisor = SessionManager(folder / "sessions", folder / "console.log")
        return cls(folder, connection, credentials, peer, supervisor)

    def start(
        self, role: str, port: int = 0, capture: Path | None = None, **options: Any
    ) -> SessionStatus:
        """A session; with every command that it sends to the TPM in a file, if one is named."""
        spec = SessionSpec(role, "bench", LOCAL, port, **options)
        connection = captured(self.connection, capture) if capture else self.connection
        return self.supervisor.start(spec, self.credentials, connection)


def port_of(facts: SessionStatus) -> int:
    """Where a server session listens."""
    return int(facts.address.rpartition(":")[2])
