"""Tell key files that name the wrong parent apart from those of another TPM."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from tpmconsole.board.check_keys import Key, check_key, key_ref
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.handles import PERSISTENT_FIRST
from tpmconsole.tpm.model import KeyCheck, KeyFile
from tpmconsole.tpm.primaries import AS_SAID

if TYPE_CHECKING:
    from tpmconsole.board import Board

LOG = logging.getLogger(__name__)

OTHER_PARENT = "other-parent"
# What the TPM answers if a key's parent is not the one that its file names.
FOREIGN = ("not-this-tpm", "parent-missing")
_NONE_FITS = "no usual primary key is its parent"


def name_parents(
    board: Board, answers: Iterable[tuple[Key, KeyCheck]], auth: Auth = NO_AUTH
) -> list[tuple[Key, KeyCheck]]:
    """The answers of checked keys; if a key's parent is in doubt, with the parent that fits.

    This does not spend an attempt. All keys are tried below one parent, then the next: a chip may
    need a minute to make a primary key.

    Args:
        auth: the owner hierarchy's password.

    Raises:
        ConsoleError: the TPM cannot be reached.
    """
    known = list(answers)
    doubtful = ((number, _pem(*one)) for number, one in enumerate(known))
    asked = [(number, pem) for number, pem in doubtful if pem is not None]
    try:
        found = board.tpm.find_parents([pem for _, pem in asked], auth)
    except ConsoleError as error:
        if error.exit_code is ExitCode.NO_TPM:
            raise
        LOG.info("parents not looked for: %s", error)
        return known
    for (number, _), parent in zip(asked, found, strict=True):
        key, answer = known[number]
        if parent is AS_SAID:
            continue
        if parent is not None:
            why = f"this TPM made it, below {parent.words}: its file names another parent"
            known[number] = key, KeyCheck(OTHER_PARENT, why)
        elif answer.answer in FOREIGN:
            known[number] = key, none_fits(answer)
    return known


def check_with_parent(board: Board, key: Key, auth: Auth = NO_AUTH) -> KeyCheck:
    """Let the TPM sign with a key of the list; if it cannot, below the parent that fits.

    Raises:
        ConsoleError: the TPM cannot be reached, or the file cannot be read.
    """
    ((_, answer),) = name_parents(board, [(key, check_key(board, key, auth))], auth)
    return answer


def in_doubt(answer: KeyCheck) -> bool:
    """Whether a key's parent might differ from the one that its file names.

    If the key needs a password, it was not loaded at all.
    """
    asks = (answer.answer, answer.needs) == ("needs-password", "key")
    return asks or answer.answer in FOREIGN


def none_fits(answer: KeyCheck) -> KeyCheck:
    """The answer about a key that does not load below any of the usual parents."""
    return replace(answer, reason=f"{_NONE_FITS}: {answer.reason}")


def _pem(key: Key, answer: KeyCheck) -> bytes | None:
    """The content of a key file whose parent is in doubt.

    The parent is in doubt after the TPM has refused to load the key, and before anyone has tried:
    many tools write a hierarchy for whichever primary key it was. Nobody writes a handle by
    default.
    """
    if not isinstance(key, KeyFile) or not in_doubt(answer):
        return None
    at_handle = key.parent is not None and int(key.parent, 16) >= PERSISTENT_FIRST
    if at_handle and answer.answer not in FOREIGN:
        return None
    try:
        return key_ref(key).pem
    except ConsoleError:  # it was read a moment ago, but is gone now
        return None


def way_out(answer: KeyCheck) -> NextStep | None:
    """What to do about a key whose file names the wrong parent."""
    if answer.answer != OTHER_PARENT:
        return None
    return NextStep(Action.ADOPT, text="{} makes an identity of it")
