"""The columns of the Sessions page: a session, or another program that uses the TPM."""

from __future__ import annotations

from collections.abc import Sequence

from tpmconsole.board.tpm_users import TpmUser
from tpmconsole.session.status import SessionStatus
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.widgets.table import WIDE, Column

Listed = SessionStatus | TpmUser

COLUMNS = (
    Column("SESSION", 12, 20),
    Column("STATE", 9),
    Column("IDENTITY", 16, 28),
    Column("ADDRESS", 22, 34),
    Column("MESSAGES", 8),
    Column("ENGINE", 8, since=WIDE),
    Column("TLS", 7, since=WIDE),
    Column("MEDIAN/95%", 10, since=WIDE),
    Column("PEER UNTIL", 10, since=WIDE),
    Column("PEER", 10, 50, since=WIDE),
)
_OTHER = "OTHER"


def name(one: Listed) -> str:
    """What identifies a row."""
    return one.id if isinstance(one, SessionStatus) else f"pid {one.pid}"


def row(one: Listed) -> tuple[str, ...]:
    """The texts of a row."""
    if isinstance(one, SessionStatus):
        return (
            one.id,
            one.word.upper(),
            one.identity,
            one.address,
            str(one.messages),
            one.engine or "-",
            one.protocol_version or "-",
            _latency(one),
            one.peer.not_after[:10] if one.peer else "-",
            one.peer.subject if one.peer else "-",
        )
    return name(one), _OTHER, f"{one.name} ({one.user})", one.how, *"------"


def copies(one: Listed | None) -> Sequence[Copy]:
    """The texts about a row that can be copied."""
    if not isinstance(one, SessionStatus):
        return () if one is None else (Copy("process", str(one.pid)),)
    found = [Copy("address", one.address)]
    if one.peer:
        found += [Copy("peer", one.peer.subject), Copy("peer SHA-256", one.peer.fingerprint)]
    if one.last_error:
        error = one.last_error
        text = f"{error.title}: {error.cause}\nTry: {say(error.remedy)}"
        found.append(Copy("error", text))
    return found


def _latency(one: SessionStatus) -> str:
    """The median of the handshakes, and what 95 % of them did not exceed."""
    times = one.handshake_ms
    if times.median is None or times.p95 is None:
        return "-"
    return f"{times.median:.0f}/{times.p95:.0f} ms"
