"""The columns of the Sessions page: a session, or another program that uses the TPM."""

from __future__ import annotations

from tpmconsole.board.tpm_users import TpmUser
from tpmconsole.session.status import SessionStatus
from tpmconsole.ui.widgets.table import Column

Listed = SessionStatus | TpmUser

COLUMNS = (
    Column("SESSION", 12, 20),
    Column("STATE", 9),
    Column("IDENTITY", 16, 28),
    Column("ADDRESS", 22, 34),
    Column("MESSAGES", 8),
)
_OTHER = "OTHER"


def name(one: Listed) -> str:
    """What tells a row from the others."""
    return one.id if isinstance(one, SessionStatus) else f"pid {one.pid}"


def row(one: Listed) -> tuple[str, ...]:
    """The texts of a row."""
    if isinstance(one, SessionStatus):
        return one.id, one.word.upper(), one.identity, one.address, str(one.messages)
    return name(one), _OTHER, f"{one.name} ({one.user})", one.how, "-"
