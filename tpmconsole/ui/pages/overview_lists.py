"""The identities and sessions of the Overview: counts first, then those that need someone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tpmconsole.board.phrases import CRL_STATES
from tpmconsole.tpm.model import algorithm_words
from tpmconsole.ui.rows import BAD, GOOD, Fact, Heading

if TYPE_CHECKING:
    from tpmconsole.finding import Finding
    from tpmconsole.identity.summary import Summary
    from tpmconsole.session.status import SessionStatus

HEADING_ROWS = 2  # with the blank row above it


def identity_facts(
    identities: Sequence[Summary], none: str, *, room: int = 0, warn_days: int = 0
) -> list[Fact | Heading]:
    """The identities, each on a line.

    Args:
        none: what to say if there are no identities.
        room: the most lines, if there is no room for all; 0 for all of them.
        warn_days: how many days before its expiry a certificate is shown as ``EXPIRES``.
    """
    rows = [
        Fact(one.name, one.state, f"{algorithm_words(one.algorithm):<9} {one.detail}")
        for one in identities
    ]
    words = {"EXPIRES": f"{{}} expire in {warn_days} days"} if warn_days else {}
    title = _with_counts("Identities", [one.state for one in identities], words)
    return [title, *(_cut(rows, room, "page 3 lists all") or [Fact("", "NONE", none)])]


def session_facts(
    sessions: Sequence[SessionStatus],
    none: str,
    crl_of: Callable[[SessionStatus], Finding | None] = lambda _: None,
    *,
    room: int = 0,
) -> list[Fact | Heading]:
    """The sessions, each on a line; a list of revoked certificates that ends has its own.

    Args:
        none: what to say if there are no sessions.
        crl_of: what there is to say of a session's list.
        room: the most lines, if there is no room for all; 0 for all of them.
    """
    rows = []
    for one in sessions:
        text = f"{one.identity} {one.address} {one.protocol_version or ''}".rstrip()
        crl = crl_of(one)
        if crl is not None and crl.state == "ok" and one.crl is not None:
            text += f", CRL until {one.crl.next_update[:10]}"
        rows.append(Fact(one.id, one.word.upper(), text))
        if crl is not None and crl.state != "ok":
            rows.append(Fact(one.id, CRL_STATES[crl.state], crl.text))
    title = _with_counts("Sessions", [one.word.upper() for one in sessions], {})
    return [title, *(_cut(rows, room, "page 4 lists all") or [Fact("", "NONE", none)])]


def rooms(room: int, identities: int, sessions: int) -> tuple[int, int]:
    """The lines for either list: neither pushes the other out of sight.

    Args:
        room: the lines for both, with their headings.
        identities: the number of lines that the identities would take; as for ``sessions``.
    """
    room = max(2, room - 2 * HEADING_ROWS)
    if identities + sessions <= room:
        return identities, sessions
    for_sessions = min(sessions, max(1, room - identities, room // 2))
    return max(1, room - for_sessions), for_sessions


def _with_counts(title: str, states: Sequence[str], words: dict[str, str]) -> Heading:
    """A heading that counts the states, the good ones first; of one item its row says all."""
    if len(states) < 2:
        return Heading(title)
    counts = sorted(Counter(states).items(), key=lambda pair: (_badness(pair[0]), -pair[1]))
    parts = (words.get(state, f"{{}} {state}").format(count) for state, count in counts)
    return Heading(f"{title}: {', '.join(parts)}")


def _cut(rows: list[Fact], room: int, rest: str) -> list[Fact]:
    """At most ``room`` rows, those that need someone first; the order is kept where all fit."""
    if not room or len(rows) <= room:
        return rows
    first = sorted(rows, key=lambda row: -_badness(row.state))[: room - 1]
    return [*first, Fact("", "", f"... and {len(rows) - len(first)} more: {rest}")]


def _badness(state: str) -> int:
    return 0 if state in GOOD else 2 if state in BAD else 1
