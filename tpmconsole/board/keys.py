"""Make, list, check and move the keys of a board: key files and persistent handles."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.board.check_keys import AnyKey, check_all, with_answer
from tpmconsole.board.open_key import checked_source
from tpmconsole.board.parents import check_with_parent, name_parents
from tpmconsole.board.phrases import MOVED_FOR_GOOD
from tpmconsole.board.pins import pin_of_key
from tpmconsole.board.plan import Plan
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.system.files import PRIVATE_FILE, set_mode
from tpmconsole.text import printable
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.handles import check_for_new_key
from tpmconsole.tpm.model import Algorithm, KeyCheck, KeyFile, PersistentKey, Room

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.identity.store import Identity
    from tpmconsole.secret import Password
    from tpmconsole.tpm.model import SoftwareKey


@dataclass(frozen=True, slots=True)
class KeyList:
    """Key files and persistent handles.

    Attributes:
        no_tpm: why the TPM could not list its handles.
        refused: whether one of the checked keys (a key file, or an identity's key) cannot be used,
            or the one file that was named is not known to be usable.
    """

    files: tuple[KeyFile, ...]
    persistent: tuple[PersistentKey, ...]
    no_tpm: ConsoleError | None = None
    room: Room | None = None
    refused: bool = False

    def to_json(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "files": [key.to_json() for key in self.files],
            "persistent": [key.to_json() for key in self.persistent],
        }
        if self.no_tpm:
            answer["no_tpm"] = self.no_tpm.to_json()
        return answer


def reason_of(answer: KeyCheck) -> str:
    """The answer of a key check, as text."""
    return answer.reason


def list_keys(
    board: Board,
    paths: Sequence[Path] = (),
    *,
    prove: bool = False,
    auth: Auth = NO_AUTH,
    describe: Callable[[KeyCheck], str] = reason_of,
) -> KeyList:
    """Key files below ``paths`` (or of the identities) and the TPM's persistent handles.

    Args:
        paths: files and folders.
        prove: let the TPM sign with each key; reading alone never loads one. An attempt is spent
            only on a key file that is named alone, never on one of many.
        auth: for the key check.
        describe: turns the answer of a key check into text.

    Raises:
        ConsoleError: a key's password was given, and it is not for one key file alone.
    """
    files = tuple(key_files(board, paths))
    if auth.key is not None and len(files) != 1:
        raise ConsoleError(
            "Which key?",
            f"a password is for one key, and these are {len(files)} key files",
            "name the one key file that the password is for",
            ExitCode.USAGE,
        )
    alone = len(files) == 1 and (auth.key is not None or _is_file_alone(paths))
    if prove and alone:
        files = (with_answer(files[0], check_with_parent(board, files[0], auth), describe),)
    elif prove:
        files = _checked(board, files, auth, describe)
    inside = keys_inside(board)
    persistent = inside.persistent
    if prove and not paths:
        persistent = _checked(board, persistent, auth, describe)
    of_use: list[KeyFile | PersistentKey] = [*files, *(key for key in persistent if key.identity)]
    refused = prove and (
        any(key.usable is False for key in of_use) or (alone and not files[0].usable)
    )
    return replace(inside, files=files, persistent=persistent, refused=refused)


def _is_file_alone(paths: Sequence[Path]) -> bool:
    """Whether exactly one path was named, and it is not a folder."""
    return len(paths) == 1 and not paths[0].is_dir()


def _checked(
    board: Board, keys: Sequence[AnyKey], auth: Auth, describe: Callable[[KeyCheck], str]
) -> tuple[AnyKey, ...]:
    """Many keys with the TPM's answer in each."""
    answers = check_all(board, keys, lambda _: auth.parent, auth)
    found = name_parents(board, answers, auth)
    return tuple(
        with_answer(key, answer, describe) for key, (_, answer) in zip(keys, found, strict=True)
    )


def keys_inside(board: Board) -> KeyList:
    """The list without the key files: what the TPM reports, or why it does not answer.

    Raises:
        ConsoleError: the chosen device is not a TPM.
    """
    try:
        return KeyList((), persistent_keys(board), room=board.tpm.room())
    except ConsoleError as error:
        if error.exit_code is ExitCode.USAGE:
            raise
        return KeyList((), (), error)


def key_files(board: Board, paths: Sequence[Path] = ()) -> Iterable[KeyFile]:
    """Read key files one after the other, without a TPM."""
    from tpmconsole.tpm.keyfile.scan import scan

    identities = board.settings.identities
    ours = [identities] if _is_there(identities) else []  # before the first identity is made
    for key in scan(paths) if paths else scan(ours, depth=1):
        yield replace(key, identity=_owner(board, Path(key.path)))


def _owner(board: Board, path: Path) -> str | None:
    """The identity whose key file this is, however its path was written."""
    if path.name != "key.pem":
        return None
    folder = path.absolute().parent
    ours = folder.parent == board.settings.identities or _is_same(
        folder.parent, board.settings.identities
    )
    # Both exist after a power cut during the key's move: then the handle counts.
    return folder.name if ours and not _is_there(folder / "key.handle", closed=False) else None


def _is_there(path: Path, *, closed: bool = True) -> bool:
    """Whether something is there.

    Args:
        closed: the answer if we are not allowed to look.
    """
    try:
        path.stat()
    except PermissionError:
        return closed
    except OSError:
        return False
    return True


def _is_same(folder: Path, identities: Path) -> bool:
    """Whether two paths lead to one folder."""
    try:
        return folder.samefile(identities)
    except OSError:
        return False


def persistent_keys(board: Board) -> tuple[PersistentKey, ...]:
    """The keys kept inside the TPM, each with the identity that uses it.

    If the identities cannot be read, the TPM still reports its keys.
    """
    try:
        identities = board.identities.all()
    except ConsoleError:
        identities = []
    owners = {f"0x{one.handle:08x}": one for one in identities if one.handle is not None}

    def owned(key: PersistentKey) -> PersistentKey:
        owner = owners.get(key.handle)
        if owner is None:
            return key
        # The TPM does not report whether a key has a password. Our record does, if it is complete
        # and was written for this key.
        ours = owner.problem is None and (owner.pin is None or owner.pin.name == key.name)
        known = key.auth is None and (ours or owner.auth == "password")
        auth = owner.auth if known else key.auth
        return replace(key, identity=owner.name, auth=auth)

    return tuple(map(owned, board.tpm.persistent_keys()))


# Making them


def create_key(
    board: Board,
    name: str,
    kind: Algorithm | SoftwareKey,
    auth: Auth = NO_AUTH,
    handle: int | None = None,
    *,
    noda: bool = False,
    renews: str | None = None,
) -> Identity:
    """Make a new identity with a key made in the TPM, or made elsewhere and wrapped into it.

    Args:
        kind: what to make; or the key to import. Its identity is permanently marked as imported,
            and the source file stays where it is.
        auth: the password that the key will need, and the owner hierarchy's if it has one.
        noda: wrong passwords do not count towards the lock-out.
        renews: the identity whose certificate the key is made to renew.

    Raises:
        ConsoleError: the name is taken or not valid, or the TPM refused; nothing was made.
    """
    from tpmconsole.tpm import keyfile

    auth.check()
    board.identities.reserve(name)
    if handle is not None:
        _check_free(board, handle, new=isinstance(kind, Algorithm))
    tpm = board.tpm
    if isinstance(kind, Algorithm):
        algorithm, source = kind, None
        pem = tpm.create(algorithm, auth, noda=noda)
    else:
        algorithm, source = kind.algorithm, str(kind.path)
        pem = tpm.import_key(kind.pkcs8, algorithm, auth, noda=noda)
    pin = pin_of_key(keyfile.parse(pem).area)
    if handle is not None:
        tpm.persist(pem, handle, auth)
    try:
        identity = board.identities.create(
            name,
            key_pem=pem if handle is None else None,
            handle=handle,
            algorithm=algorithm.value,
            auth="password" if auth.key else "none",
            origin="imported" if source else "tpm",
            pin=pin,
            renews=renews,
        )
    except ConsoleError:
        if handle is not None:
            tpm.evict(handle, auth)
        raise
    facts = {"imported_from": source} if source else {}
    where = None if handle is None else f"0x{handle:08x}"
    board.record("create", identity=name, algorithm=algorithm.value, handle=where, **facts)
    return identity


def software_key(path: Path, passphrase: Password | None = None) -> SoftwareKey:
    """A private key that was made elsewhere, to be wrapped into the TPM.

    Raises:
        ConsoleError: it cannot be wrapped, or its passphrase is missing or wrong.
    """
    from tpmconsole.tpm.keyfile.software import read_software_key

    return read_software_key(path, passphrase)


def make_private(board: Board, key: KeyFile) -> None:
    """Let only the owner of a key file read it.

    Raises:
        ConsoleError: it belongs to another user, is a link or not a file at all, or is gone.
    """
    path = Path(key.path)
    try:
        set_mode(path, PRIVATE_FILE)
    except OSError as error:
        link = error.errno == errno.ELOOP
        raise ConsoleError(
            "Key file not made private",
            f"{printable(key.path)}: {'it is a link' if link else error.strerror}",
            "make the file that it leads to private"
            if link
            else "ask the file's owner to run: chmod 600",
        ) from error
    board.record("chmod", file=key.path, mode="0600")


# Moving and removing them


def persist(board: Board, name: str, handle: int, auth: Auth = NO_AUTH) -> Identity:
    """Move an identity's key from its file to a persistent handle.

    Raises:
        ConsoleError: the handle is in use or not valid, the TPM is full, or the key is not in a
            file or not the one that the identity was given.
    """
    identity = board.identities.get(name)
    pem = checked_source(board, identity).pem if identity.handle is None else None
    if pem is None:
        raise _cannot_move(board, identity)
    _check_free(board, handle)
    board.tpm.persist(pem, handle, auth)
    try:
        moved = board.identities.move_to_handle(name, handle)
    except ConsoleError:
        board.tpm.evict(handle, auth)
        raise
    board.record("persist", identity=name, handle=f"0x{handle:08x}")
    return moved


def _cannot_move(board: Board, identity: Identity) -> ConsoleError:
    """The reason a key without a file is not moved: it is at its handle, or it is lost."""
    from tpmconsole.identity.store import moved_before

    assert identity.handle is not None  # noqa: S101  (it has a file or a handle)
    if any(int(key.handle, 16) == identity.handle for key in persistent_keys(board)):
        return moved_before(identity.name, identity.handle)
    return ConsoleError(
        "Key is gone",
        f"the key of '{identity.name}' was at 0x{identity.handle:08x}, which is empty now",
        "make a new identity with a new key, and have it certified",
    )


def _check_free(board: Board, handle: int, *, new: bool = False) -> None:
    """Refuse a handle that cannot be used, before a key is made: some chips take minutes.

    Args:
        new: the key does not exist yet, so it cannot be at the handle from an earlier attempt.

    Raises:
        ConsoleError: it is reserved, or in use.
    """
    check_for_new_key(handle)
    for key in persistent_keys(board):
        if int(key.handle, 16) == handle and (new or key.identity is not None):
            whose = f"identity '{key.identity}' has its key" if key.identity else "another key is"
            raise ConsoleError(
                "Handle in use",
                f"{whose} at {key.handle}",
                NextStep(Action.LIST_KEYS, text="choose a free handle; those in use: {}"),
                ExitCode.REFUSED,
            )


def evict(board: Board, handle: int, auth: Auth = NO_AUTH) -> None:
    """Remove a persistent key from the TPM permanently.

    Raises:
        ConsoleError: the handle is empty, or the TPM refused.
    """
    board.tpm.evict(handle, auth)
    board.record("evict", handle=f"0x{handle:08x}")


def plan_persist(board: Board, name: str, handle: int) -> Plan[Identity]:
    """Plan to move an identity's key from its file to a handle; errors as ``persist``."""
    where = f"0x{handle:08x}"
    check_for_new_key(handle)
    identity = board.identities.get(name)
    return Plan(
        title=f"Persist {name}",
        losses=(
            f"key.pem of '{name}': {MOVED_FOR_GOOD}",
            *(
                f"session {one.id} uses it: it keeps running, and uses the handle after a restart"
                for one in board.sessions.list()
                if one.identity == name and not one.state.ended
            ),
        ),
        question=f"Move the key to {where}?",
        doing="moving the key into the TPM",
        apply=lambda auth: persist(board, name, handle, auth),
        subject=name,
        key=lambda: board.source(identity),
        not_done="Key not moved",
    )
