"""Key files whose parent is not the one that they say: told apart from another TPM's."""

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
# What the TPM answers of a key that is below something else than its file says.
FOREIGN = ("not-this-tpm", "parent-missing")
_NONE_FITS = "no usual primary key is its parent"


def name_parents(
    board: Board, answers: Iterable[tuple[Key, KeyCheck]], auth: Auth = NO_AUTH
) -> list[tuple[Key, KeyCheck]]:
    """Answers of checked keys, those about the parent with the parent that fits.

    No attempt is spent for it. All the keys are tried below one parent after the other: a primary
    key may take a chip a minute.

    Args:
        auth: the owner hierarchy's.

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
            why = f"this TPM made it, below {parent.words}: its file says another parent"
            known[number] = key, KeyCheck(OTHER_PARENT, why)
        elif answer.answer in FOREIGN:
            known[number] = key, none_fits(answer)
    return known


def check_with_parent(board: Board, key: Key, auth: Auth = NO_AUTH) -> KeyCheck:
    """Let the TPM sign with a key of the list; where it cannot, with the parent that fits.

    Raises:
        ConsoleError: the TPM cannot be reached, or the file cannot be read.
    """
    ((_, answer),) = name_parents(board, [(key, check_key(board, key, auth))], auth)
    return answer


def in_doubt(answer: KeyCheck) -> bool:
    """Whether a key may be below something else than its file says.

    Of one that asks for its password, nothing was loaded.
    """
    asks = (answer.answer, answer.needs) == ("needs-password", "key")
    return asks or answer.answer in FOREIGN


def none_fits(answer: KeyCheck) -> KeyCheck:
    """The answer about a key that loads below none of the usual parents."""
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
    except ConsoleError:  # it was read a moment ago, and is gone
        return None


def way_out(answer: KeyCheck) -> NextStep | None:
    """What to do about a key below another parent than its file says."""
    if answer.answer != OTHER_PARENT:
        return None
    return NextStep(Action.ADOPT, text="{} makes an identity of it")
