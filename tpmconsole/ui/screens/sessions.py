"""Page 4: mutual-TLS sessions, started, watched and stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.timer import Timer
from textual.widget import Widget

from tpmconsole.answers import event_line, event_words
from tpmconsole.inputs import parse_address, parse_number
from tpmconsole.ui.commands import Command
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.screens.page import Page
from tpmconsole.ui.styled import Fact
from tpmconsole.ui.widgets.facts import Facts
from tpmconsole.ui.widgets.table import Table

if TYPE_CHECKING:
    from tpmconsole.session.model import SessionFacts

COLUMNS = (("SESSION", 12), ("STATE", 9), ("IDENTITY", 16), ("ADDRESS", 22), ("MESSAGES", 8))
ENGINES = ("auto", "provider", "bridge")
POLL_S = 1.0
LAST_EVENTS = 4


class SessionsPage(Page):
    """Sessions above, the facts and last events of the chosen one below."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._sessions: list[SessionFacts] = []
        self._events: list[dict[str, Any]] = []
        self._timer: Timer | None = None
        self._reading = False

    def compose(self) -> ComposeResult:
        yield Table(COLUMNS, state_column=1)
        yield Facts(classes="detail")

    def on_mount(self) -> None:
        self._timer = self.set_interval(POLL_S, self._poll)

    def commands(self) -> tuple[Command, ...]:
        def running() -> bool:
            one = self._chosen()
            return one is not None and one.state in ("starting", "running")

        return (
            Command("s", "Server", "start a server", lambda: self._ask("server")),
            Command("c", "Client", "start a client", lambda: self._ask("client")),
            Command("x", "Stop", "end the session", self._stop, running),
            Command(
                "enter",
                "Events",
                "what happened in it",
                self._show_events,
                lambda: self._chosen() is not None,
                kiosk=True,
            ),
        )

    def focus_target(self) -> Widget:
        return self._table

    def refresh_data(self) -> None:
        if not self._reading:
            self._reading = True
            chosen = self._chosen()
            session = chosen.id if chosen else None
            self.job("", lambda: self._read(session), self._listed, self._not_listed)

    def _poll(self) -> None:
        """Once a second, and only while somebody can see it."""
        if self.console.main.page is self and self.app.screen is self.console.main:
            self.refresh_data()

    def _read(self, chosen: str | None) -> tuple[list[SessionFacts], list[dict[str, Any]]]:
        sessions = self.board.sessions.list()
        if chosen is None and sessions:
            chosen = sessions[0].id
        if chosen is None:
            return sessions, []
        # Messages are counted above; one a second in this pane would drive out what matters.
        events = (one for one in self.board.sessions.events(chosen) if one["event"] != "message")
        return sessions, list(deque(events, LAST_EVENTS))

    @property
    def _table(self) -> Table:
        return self.query_one(Table)

    def _chosen(self) -> SessionFacts | None:
        row = self._table.chosen
        return None if row is None else self._sessions[row]

    # What is shown

    def _not_listed(self, error: Any) -> None:
        self._reading = False
        self.console.main.say(str(error), bad=True)

    def _listed(self, answer: Any) -> None:
        self._reading = False
        self._sessions, self._events = answer
        self._table.present(
            [
                (one.id, one.state.upper(), one.identity, one.address, str(one.messages))
                for one in self._sessions
            ]
        )
        self._show_facts()

    def on_data_table_row_highlighted(self) -> None:
        self.refresh_data()

    def _show_facts(self) -> None:
        one = self._chosen()
        facts = [Fact("", "NONE", "s starts a server, c a client")]
        if one is not None:
            facts = [*session_facts(one), *map(event_fact, self._events)]
        self.query_one(Facts).present(facts)
        self.console.main.show_keys()

    # What the keys do

    def _ask(self, role: str) -> None:
        self.job("", self.board.summaries, lambda all_: self._ask_with(role, all_))

    def _ask_with(self, role: str, summaries: Any) -> None:
        ready = tuple(
            one.name for one in summaries if one.state in ("READY", "EXPIRES", "NO CLOCK")
        )
        if not ready:
            self.console.main.say("no identity is ready: make one on page 3", bad=True)
            return
        locked = {one.name for one in summaries if one.auth == "password"}
        target = "localhost:8443"
        fields = [
            Field("identity", "Identity", choices=ready, hint="left and right change it"),
            Field("address", "Connect" if role == "client" else "Listen", target, "HOST:PORT"),
            Field("engine", "Engine", "auto", "auto takes the one that works here", ENGINES),
        ]
        if role == "client":
            fields += [
                Field("protocol", "Protocol", choices=("line", "https"), hint="line: PING n"),
                Field("count", "Messages", hint="empty: until it is stopped"),
            ]
        if locked:
            fields.append(
                Field("password", "Password", hint="of the key, if it has one", secret=True)
            )

        def check(values: Mapping[str, str]) -> None:
            parse_address(values["address"])
            _count(values.get("count", ""))

        self.app.push_screen(
            FormDialog(f"Start a {role}", fields, check),
            lambda values: self._start(role, values) if values else None,
        )

    def _start(self, role: str, values: Mapping[str, str]) -> None:
        from tpmconsole.session.model import SessionSpec

        host, port = parse_address(values["address"])
        spec = SessionSpec(
            role=role,
            identity=values["identity"],
            host=host,
            port=port,
            protocol=values.get("protocol", "line"),
            count=_count(values.get("count", "")),
            engine=values["engine"],
        )
        password = values.get("password", "").encode() or None
        self.job(
            f"starting the {role}",
            lambda: self.board.start_session(spec, password),
            lambda facts: self._changed(f"{facts.id} started, engine {facts.engine}"),
        )

    def _stop(self) -> None:
        if (one := self._chosen()) is not None:
            self.job(
                f"stopping {one.id}",
                lambda: self.board.stop_session(one.id),
                lambda facts: self._changed(f"{facts.id} {facts.state}"),
            )

    def _changed(self, message: str) -> None:
        self.console.main.say(message)
        self.refresh_data()

    def _show_events(self) -> None:
        if (one := self._chosen()) is not None:
            self.job(
                "",
                lambda: [event_line(event) for event in self.board.sessions.events(one.id)],
                lambda lines: self.console.show_text(f"Events of {one.id}", "\n".join(lines)),
            )


def _count(text: str) -> int | None:
    from tpmconsole.errors import usage_error

    if not text:
        return None
    number = parse_number(text)
    if not number:
        raise usage_error("Not a number", f"'{text}' is no number of messages", "leave it empty")
    return number


def session_facts(one: SessionFacts) -> list[Fact]:
    """What the detail pane says of a session."""
    tls = f"{one.protocol_version or '-'} {one.cipher or ''}".strip()
    last, median = one.handshake_ms.last, one.handshake_ms.median
    times = f", last {last:.0f} ms, median {median:.0f} ms" if last and median else ""
    lines = [
        Fact("Engine", "", f"{one.engine}: {one.why_engine}"),
        Fact("TLS", "", tls),
        Fact("Peer", "", one.peer.subject if one.peer else "-"),
        Fact("Handshakes", "", f"{one.handshakes}{times}"),
    ]
    if one.last_error:
        error = one.last_error
        lines.append(Fact("Last error", "ERROR", f"{error.title}: {error.cause}"))
        lines.append(Fact("Try", "", error.remedy))
    return lines


def event_fact(event: Mapping[str, Any]) -> Fact:
    """An event on a line: its time of day, its name, what it says."""
    return Fact(str(event.get("time"))[11:19], str(event.get("event")), event_words(event))
