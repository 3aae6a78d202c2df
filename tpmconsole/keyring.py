"""The keys of a board: key files and persistent handles, made, listed, tried and moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.files import read_bounded
from tpmconsole.tpm.model import Algorithm, KeyFile, KeyKind, KeySource, PersistentKey, Usability

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.identity.store import Identity

KEY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class KeyList:
    """Key files and persistent handles; ``no_tpm`` says why the handles could not be asked for."""

    files: tuple[KeyFile, ...]
    persistent: tuple[PersistentKey, ...]
    no_tpm: ConsoleError | None = None

    def to_json(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "files": [key.to_json() for key in self.files],
            "persistent": [key.to_json() for key in self.persistent],
        }
        if self.no_tpm:
            answer["no_tpm"] = self.no_tpm.to_json()
        return answer


class Keyring:
    """What can be done with keys.

    Args:
        board: whose keys they are.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def list(self, paths: Sequence[Path] = (), *, prove: bool = False) -> KeyList:
        """Key files below ``paths`` (else of the identities) and the TPM's persistent handles.

        Args:
            paths: files and folders.
            prove: let the TPM sign with each file's key; reading alone never loads one.
        """
        files = tuple(self.files(paths))
        if prove:
            files = tuple(map(self._proved, files))
        try:
            persistent = self.persistent()
        except ConsoleError as error:
            if error.exit_code is ExitCode.USAGE:
                raise
            return KeyList(files, (), error)
        return KeyList(files, persistent)

    def files(self, paths: Sequence[Path] = ()) -> Iterable[KeyFile]:
        """Read key files one after the other, without a TPM."""
        from tpmconsole.tpm.keyscan import scan

        owners = {
            str(identity.folder / "key.pem"): identity.name
            for identity in self._board.identities.all()
            if identity.handle is None
        }
        identities = self._board.settings.identities
        ours = [identities] if identities.is_dir() else []  # before the first one is made
        for key in scan(paths) if paths else scan(ours, depth=1):
            yield replace(key, identity=owners.get(key.path))

    def _proved(self, key: KeyFile) -> KeyFile:
        if key.kind is not KeyKind.LOADABLE:
            return key
        answer = self.usable(KeySource(pem=read_bounded(Path(key.path), KEY_BYTES)))
        usable = None if answer.answer == "needs-password" else answer.usable
        return replace(key, usable=usable, reason=answer.reason)

    def persistent(self) -> tuple[PersistentKey, ...]:
        """The keys kept inside the TPM, each with the identity that lives on it."""
        owners = {
            f"0x{identity.handle:08x}": identity
            for identity in self._board.identities.all()
            if identity.handle is not None
        }

        def owned(key: PersistentKey) -> PersistentKey:
            owner = owners.get(key.handle)
            if owner is None:
                return key
            # The TPM does not tell whether a key has a password; who made it does.
            auth = "password" if owner.auth == "password" else key.auth
            return replace(key, identity=owner.name, auth=auth)

        return tuple(map(owned, self._board.tpm.persistent_keys()))

    def usable(self, source: KeySource, password: bytes | None = None) -> Usability:
        """Sign a nonce with the key and verify it."""
        return self._board.tpm.usable(source, password)

    def create(
        self,
        name: str,
        algorithm: Algorithm,
        password: bytes | None = None,
        handle: int | None = None,
    ) -> Identity:
        """Make a key in the TPM, as a new identity.

        Raises:
            ConsoleError: the name is taken or no good, or the TPM refused; nothing was made.
        """
        self._board.identities.reserve(name)
        pem = self._board.tpm.create(algorithm, password)
        if handle is not None:
            self._board.tpm.persist(pem, handle)
        try:
            identity = self._board.identities.create(
                name,
                key_pem=pem if handle is None else None,
                handle=handle,
                algorithm=algorithm.value,
                auth="password" if password else "none",
            )
        except ConsoleError:
            if handle is not None:
                self._board.tpm.evict(handle)
            raise
        where = None if handle is None else f"0x{handle:08x}"
        self._board.record("create", identity=name, algorithm=algorithm.value, handle=where)
        return identity

    def persist(self, name: str, handle: int) -> Identity:
        """Move an identity's key from its file to a persistent handle.

        Raises:
            ConsoleError: the handle is in use or no good, the TPM is full, or the key is no file.
        """
        identity = self._board.identities.get(name)
        pem = identity.key_pem
        if pem is None:
            raise ConsoleError(
                "Not moved",
                f"the key of '{name}' is already at 0x{identity.handle:08x}",
                "evict it there first, or make a new identity",
            )
        self._board.tpm.persist(pem, handle)
        try:
            moved = self._board.identities.move_to_handle(name, handle)
        except ConsoleError:
            self._board.tpm.evict(handle)
            raise
        self._board.record("persist", identity=name, handle=f"0x{handle:08x}")
        return moved

    def evict(self, handle: int) -> None:
        """Remove a persistent key from the TPM, for good.

        Raises:
            ConsoleError: there is none, or the TPM refused.
        """
        self._board.tpm.evict(handle)
        self._board.record("evict", handle=f"0x{handle:08x}")
