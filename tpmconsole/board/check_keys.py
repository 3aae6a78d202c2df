"""Check whether the TPM can use keys: one, or many without spending a dictionary-attack attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.secret import Password
from tpmconsole.system.files import read_bounded
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.model import KeyCheck, KeyFile, KeyKind, KeyRef, PersistentKey

if TYPE_CHECKING:
    from tpmconsole.board import Board

Key = KeyFile | PersistentKey
AnyKey = TypeVar("AnyKey", KeyFile, PersistentKey)

_KEY_BYTES = 64 * 1024
_IN_A_TPM = (KeyKind.LOADABLE, KeyKind.IMPORTABLE)
_NOT_KNOWN = ("needs-password", "last-try")
# For many keys: no attempt that would lock the TPM.
NOTHING_SPENT = Auth(spend_last_attempt=False)


def check_key(board: Board, key: Key, auth: Auth = NO_AUTH) -> KeyCheck:
    """Let the TPM sign a nonce with a key of the list, and verify it.

    Raises:
        ConsoleError: the TPM cannot be reached, or the file cannot be read.
    """
    if isinstance(key, KeyFile) and key.kind not in _IN_A_TPM:
        return KeyCheck("cannot-sign", key.reason or "it holds sealed data, not a key")
    if isinstance(key, PersistentKey) and not key.readable:
        return KeyCheck("cannot-sign", key.reason or key.purpose)
    return board.tpm.check_key(key_ref(key), auth)


def key_ref(key: Key) -> KeyRef:
    """The reference by which the TPM finds a key of the list.

    Raises:
        ConsoleError: its file cannot be read.
    """
    if isinstance(key, PersistentKey):
        return KeyRef(handle=int(key.handle, 16))
    return KeyRef(pem=read_bounded(Path(key.path), _KEY_BYTES))


def check_unasked(board: Board, key: Key, auth: Auth = NO_AUTH) -> KeyCheck:
    """Let the TPM sign with one key of many: the user did not ask for this key in particular.

    No attempt is spent on its own password, whatever its file says; see ``Auth.try_empty``.

    Args:
        auth: the parent's and the hierarchy's passwords; a key's own is not used for many keys.

    Raises:
        ConsoleError: the TPM cannot be reached, or the file cannot be read.
    """
    if isinstance(key, PersistentKey) and key.auth == "password":
        return KeyCheck("needs-password", "the key has a password", "key")
    known = (
        isinstance(key, PersistentKey) and key.auth == "none"
    )  # according to the identity's record
    answer = check_key(board, key, replace(auth, key=None, try_empty=known))
    if answer.needs == "key":
        return replace(answer, reason=f"{answer.reason}: check it alone")
    return answer


def with_answer(key: AnyKey, answer: KeyCheck, describe: Callable[[KeyCheck], str]) -> AnyKey:
    """A listed key with its answer; a file without a key for a TPM is left as it is."""
    if isinstance(key, KeyFile) and key.kind not in _IN_A_TPM:
        return key
    usable = None if answer.answer in _NOT_KNOWN else answer.usable
    return replace(key, usable=usable, reason=describe(answer))


def guarded_parents(keys: Iterable[Key], persistent: Iterable[PersistentKey]) -> Iterator[KeyFile]:
    """The first key of each parent that is at a handle and for which wrong passwords count.

    The TPM does not report whether such a parent has a password at all.

    Args:
        keys: the keys that will be checked.
        persistent: what is at the TPM's handles.
    """
    counting = {one.handle for one in persistent if one.counts_towards_lockout}
    for key in keys:
        if isinstance(key, KeyFile) and key.parent in counting:
            counting.remove(key.parent)
            yield key


def check_all(
    board: Board,
    keys: Iterable[Key],
    parents: Callable[[str], Password | None] = lambda _: None,
    auth: Auth = NOTHING_SPENT,
) -> Iterator[tuple[Key, KeyCheck]]:
    """Let the TPM sign with each key, one after the other.

    Args:
        parents: the known passwords of parents, by handle; one that is refused is not sent again.
        auth: the hierarchy's password, and whether the last attempt may be spent on a parent.

    Raises:
        ConsoleError: the TPM cannot be reached.
    """
    refused: set[str] = set()
    for key in keys:
        parent = key.parent if isinstance(key, KeyFile) else None
        if parent in refused:
            why = f"its parent {parent} may have a password, and a wrong one counts"
            yield key, KeyCheck("needs-password", why, "parent")
            continue
        known = replace(auth, parent=parents(parent) if parent else None)
        try:
            answer = check_unasked(board, key, known)
        except ConsoleError as error:
            if error.exit_code is ExitCode.NO_TPM:
                raise
            answer = KeyCheck("cannot-sign", f"{error.cause}; {error.remedy}")
        if parent is not None and (answer.needs == "parent" or answer.answer == "last-try"):
            refused.add(parent)
        yield key, answer
