"""An identity's key, read for use: the one that it was given, or none at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpmconsole.board.pins import checked_area, public_key_of
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.model import KeyRef

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.identity.store import Identity
    from tpmconsole.tpm.keyfile.public_area import PublicArea
    from tpmconsole.tpm.keys import TpmEcKey, TpmRsaKey
    from tpmconsole.x509.schemes import PublicKey


@dataclass(frozen=True, slots=True)
class OpenKey:
    """An identity's key as its file or the TPM describes it: read once, used for everything.

    Attributes:
        ref: what the TPM finds it by.
        public: its public half.
        area: its public area.
    """

    ref: KeyRef
    public: PublicKey
    area: PublicArea

    @property
    def scheme(self) -> str:
        """The only scheme that it was made for; empty for any."""
        return self.area.scheme

    def private(self, board: Board, auth: Auth = NO_AUTH) -> TpmEcKey | TpmRsaKey:
        """The key for cryptography; it signs in the board's TPM."""
        from tpmconsole.tpm.keys import private_key

        return private_key(board.tpm, self.ref, auth, self.public)


def open_key(board: Board, identity: Identity) -> OpenKey:
    """Read an identity's key, without its password.

    Raises:
        ConsoleError: its file is damaged, nothing is at its handle, or it is neither EC nor RSA.
        KeyChangedError: it is not the one that the identity was given.
    """
    ref = board.source(identity)
    area = checked_area(board.tpm, identity, ref)
    return OpenKey(ref, public_key_of(area), area)


def checked_source(board: Board, identity: Identity) -> KeyRef:
    """Where an identity's key is; of one that was never pinned nothing is asked.

    Raises:
        ConsoleError: it cannot be read.
        KeyChangedError: it is not the one that the identity was given.
    """
    return board.source(identity) if identity.pin is None else open_key(board, identity).ref
