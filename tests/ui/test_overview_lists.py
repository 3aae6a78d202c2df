"""The Overview with many identities: counts first, those that need someone on top."""

from __future__ import annotations

from tpmconsole.identity.summary import Summary
from tpmconsole.session.status import SessionStatus, State
from tpmconsole.ui.pages.overview_lists import identity_facts, rooms, session_facts
from tpmconsole.ui.rows import Fact, Heading

STATES = ["READY"] * 20 + ["NO TRUST"] + ["READY"] * 17 + ["EXPIRES"] * 2


def identities() -> list[Summary]:
    return [
        Summary(f"gateway-{n}", "EC P-256", "key.pem", "none", state, "until ...")
        for n, state in enumerate(STATES)
    ]


def test_forty_identities_are_counted_and_those_that_need_someone_come_first() -> None:
    title, *rows = identity_facts(identities(), "none", room=5, warn_days=14)
    assert title == Heading("Identities: 37 READY, 2 expire in 14 days, 1 NO TRUST")
    facts = [row for row in rows if isinstance(row, Fact)]
    assert [row.state for row in facts] == ["NO TRUST", "EXPIRES", "EXPIRES", "READY", ""]
    assert facts[-1].text == "... and 36 more: page 3 lists all"


def test_with_room_for_all_the_order_stays() -> None:
    _, *rows = identity_facts(identities(), "none", room=40)
    assert [row.state for row in rows if isinstance(row, Fact)] == STATES
    assert identity_facts([], "none yet") == [Heading("Identities"), Fact("", "NONE", "none yet")]


def test_sessions_are_counted_too() -> None:
    sessions = [
        SessionStatus(f"server-{n}", "server", "gateway", "h:1", state=state)
        for n, state in enumerate([State.RUNNING] * 12 + [State.FAILED] * 3)
    ]
    title, *rows = session_facts(sessions, "none", room=4)
    assert title == Heading("Sessions: 12 RUNNING, 3 FAILED")
    facts = [row for row in rows if isinstance(row, Fact)]
    assert [row.state for row in facts] == ["FAILED"] * 3 + [""]


def test_neither_list_pushes_the_other_out_of_sight() -> None:
    assert rooms(12, identities=2, sessions=1) == (2, 1)
    assert rooms(12, identities=40, sessions=1) == (7, 1)
    assert rooms(12, identities=40, sessions=15) == (4, 4)
    assert rooms(12, identities=1, sessions=15) == (1, 7)
    assert rooms(3, identities=40, sessions=15) == (1, 1)
