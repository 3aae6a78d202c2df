"""A key that somebody has put at a handle, taken as a new identity's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tpmconsole.board.keys import persistent_keys
from tpmconsole.board.pins import pin_of_key
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.handles import check_for_new_key
from tpmconsole.tpm.model import Algorithm, KeyRef

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.identity.store import Identity


def adopt_key(board: Board, name: str, handle: int, auth: Auth = NO_AUTH) -> Identity:
    """Make an identity of the key at a persistent handle, as it is; it stays where it is.

    From now on the identity takes this key and no other. Whose it is, only a comparison with what
    is known of it elsewhere tells.

    Args:
        auth: the key's password, where it has one; never sent as the last try.

    Raises:
        ConsoleError: the name is taken or no good, nothing or another identity's key is at the
            handle, or the TPM does not sign with it; nothing was made.
    """
    auth.check()
    board.identities.reserve(name)
    check_for_new_key(handle)
    where, ref = f"0x{handle:08x}", KeyRef(handle=handle)
    for key in persistent_keys(board):
        if int(key.handle, 16) == handle and key.identity is not None:
            raise _not_adopted(f"identity '{key.identity}' lives at {where}", "use that identity")
    area = board.tpm.read_public(ref)
    found = board.tpm.check_key(ref, replace(auth, spend_last_attempt=False))
    if not found.usable:
        raise _not_adopted(found.reason, "adopt it again after that", found.needs)
    kinds = {one.words: one.value for one in Algorithm}
    identity = board.identities.create(
        name,
        key_pem=None,
        handle=handle,
        algorithm=kinds.get(area.algorithm, area.algorithm),
        auth="password" if auth.key else "none",
        origin="adopted",
        pin=pin_of_key(area),
    )
    facts = {"algorithm": identity.algorithm, "handle": where, "origin": identity.origin}
    board.record("create", identity=name, **facts)
    return identity


def _not_adopted(cause: str, remedy: str, needs: str | None = None) -> ConsoleError:
    return ConsoleError("Not adopted", cause, remedy, ExitCode.REFUSED, needs=needs)
