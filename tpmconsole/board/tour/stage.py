"""What the tour works with: identities, a CA, sessions and a thief, all removed afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.board import LEAVE_S, Board
from tpmconsole.board.certificates import install_certificate, judge_certificate
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request, request_pem
from tpmconsole.board.sessions import start_session
from tpmconsole.errors import ConsoleError
from tpmconsole.settings import Settings
from tpmconsole.system.files import make_private_folder
from tpmconsole.tpm.model import Algorithm

if TYPE_CHECKING:
    from tpmconsole.identity.store import Identity
    from tpmconsole.session.status import SessionStatus
    from tpmconsole.x509.demo_ca import DemoCa
    from tpmconsole.x509.judge import Judgement

DEVICE, SERVER, SOFTWARE_DEVICE = "sensor-17", "cloud", "sensor-18"
HOST = "127.0.0.1"
# What the tour makes in its folder; the rest (a log, a lock, settings) is kept.
_FOLDERS = ("identities", "sessions", "stage")
_FILES = ("audit.jsonl", "selftest.json")


class Stage:
    """The things that the steps work with; each is made when it is first needed.

    Args:
        board: the tour's own board, whose state directory will be cleared.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.thief: Board | None = None

    @property
    def folder(self) -> Path:
        """For what does not belong to an identity: the CA, the thief's board, the software key."""
        return make_private_folder(_stage(self.board.settings))

    @property
    def ca(self) -> DemoCa:
        from tpmconsole.x509.demo_ca import DemoCa

        return DemoCa(make_private_folder(self.folder / "ca"))

    def key(self, name: str) -> Identity:
        """Return an identity with a key that the TPM made."""
        if name in self.board.identities.names():
            return self.board.identities.get(name)
        return create_key(self.board, name, Algorithm.EC_P256)

    def request(self, name: str) -> bytes:
        """Return an identity's certificate request as PEM."""
        from tpmconsole.x509.request_spec import RequestSpec

        identity = self.key(name)
        if identity.request.exists():
            return request_pem(self.board, name)
        san = (f"ip:{HOST}",) if name == SERVER else ()
        role = "server" if name == SERVER else "client"
        return make_request(self.board, name, RequestSpec(f"CN={name},O=Demo", san, role))

    def certify(self, name: str) -> Judgement:
        """Let the CA sign an identity's request, and install the certificate."""
        from cryptography import x509

        request = x509.load_pem_x509_csr(self.request(name))
        chain, root = self.ca.sign(request)
        judgement = judge_certificate(self.board, name, [chain], root, None)
        install_certificate(self.board, name, judgement)
        return judgement

    def certified(self, name: str) -> Identity:
        """Return an identity that has a certificate."""
        if not self.key(name).has_certificate:
            self.certify(name)
        return self.board.identities.get(name)

    def server(self) -> SessionStatus:
        """Return the server's session, which is listening."""
        from tpmconsole.session.spec import SessionSpec

        for one in self.board.sessions.list():
            if one.role == "server" and not one.state.ended:
                return one
        self.certified(SERVER)
        return start_session(self.board, SessionSpec("server", SERVER, HOST, 0))

    @contextmanager
    def second_tpm(self) -> Iterator[Board]:
        """The thief's board, with its own simulated TPM, which runs only within this context."""
        settings = replace(_thief(self.board.settings), simulate=True, tcti=None)
        self.thief = Board(settings)
        try:
            yield self.thief
        finally:
            self.thief.close(leave=True)
            self.thief = None

    def hurry(self) -> None:
        """Let everything that waits for a TPM fail at once; the stage cannot be used after this."""
        self.board.tpm.close()
        if self.thief is not None:
            self.thief.tpm.close()


def clear(settings: Settings) -> None:
    """End and remove what a tour has left in its state directory, and reset its simulated TPM.

    A real TPM needs no reset: the tour keeps no key in it.

    Raises:
        ConsoleError: a session or the simulator does not end, or a folder cannot be removed.
    """
    from tpmconsole.session.manager import SessionManager
    from tpmconsole.tpm.simulator import Simulator

    sessions = SessionManager(settings.sessions, settings.log)
    for one in sessions.list():
        sessions.stop(one.id)
    Simulator(_thief(settings).simulator).stop(LEAVE_S)
    Simulator(settings.simulator).forget(LEAVE_S)
    for name in _FOLDERS:
        shutil.rmtree(settings.state / name, ignore_errors=True)
    for name in _FILES:
        (settings.state / name).unlink(missing_ok=True)
    left = [name for name in _FOLDERS if (settings.state / name).exists()]
    if left:
        raise ConsoleError(
            "Tour not cleared",
            f"{settings.state / left[0]} cannot be removed",
            "check the owner of that folder, and whether the disk is read-only",
        )


def _stage(settings: Settings) -> Path:
    return settings.state / "stage"


def _thief(settings: Settings) -> Settings:
    return replace(settings, state=_stage(settings) / "thief", log_file=settings.log)
