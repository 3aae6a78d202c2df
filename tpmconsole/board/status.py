"""What is done to the TPM itself: forget its wrong passwords."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpmconsole.tpm.auth import check_password

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.secret import Password


def reset_lockout(board: Board, password: Password | None = None) -> None:
    """Forget all wrong passwords.

    Raises:
        ConsoleError: the lockout authorisation is needed, or the TPM refused.
    """
    check_password(password)
    board.tpm.reset_lockout(password)
    board.record("lockout reset")
