"""Page 4: start, watch and stop mutual-TLS sessions; list the other users of the TPM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.timer import Timer
from textual.widget import Widget

from tpmconsole.board.sessions import (
    crl_state,
    plan_restart,
    plan_stop,
    reload,
    start_session,
)
from tpmconsole.board.tpm_users import TpmUser, tpm_users
from tpmconsole.session.status import SessionStatus
from tpmconsole.tpm.auth import Auth
from tpmconsole.ui.ask_auth import Action, do
from tpmconsole.ui.command import Command
from tpmconsole.ui.confirm import plan_and_confirm
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.dialogs.events import EventsDialog
from tpmconsole.ui.dialogs.menu import MenuDialog, Option
from tpmconsole.ui.dialogs.message import TextDialog
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.pages.sessions.columns import COLUMNS, Listed, copies, name, row
from tpmconsole.ui.pages.sessions.details import (
    ASCII_LEVELS,
    BLOCK_LEVELS,
    session_facts,
    steady,
    user_facts,
)
from tpmconsole.ui.pages.sessions.form import FRESH, session_spec, start_form
from tpmconsole.ui.rows import Fact
from tpmconsole.ui.widgets.details import DetailPane
from tpmconsole.ui.widgets.list_table import ListTable

if TYPE_CHECKING:
    from tpmconsole.identity.summary import Summary
    from tpmconsole.session.events import EventReader
    from tpmconsole.session.spec import SessionSpec

POLL_S = 1.0
REST_S = 0.25
# Looking for other users reads data of every process, and they rarely change.
USERS_EVERY = 10
NOTHING = "no sessions: s starts a server, c a client"


class SessionsPage(Page):
    """Sessions and other users of the TPM above, live details of the chosen one below."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._sessions: list[SessionStatus] = []
        self._users: list[TpmUser] = []
        self._reading = False
        self._looking = False
        self._polls = 0
        self._started = ""
        self._resting: Timer | None = None

    def compose(self) -> ComposeResult:
        # On this page, s starts a server.
        yield ListTable[Listed](COLUMNS, 1, row, name, sort_key="S")
        yield DetailPane(state_width=0)

    def on_mount(self) -> None:
        self.set_interval(POLL_S, self._poll)

    def commands(self) -> tuple[Command, ...]:
        def running() -> bool:
            one = self._session()
            return one is not None and not one.state.ended

        def any_session() -> bool:
            return self._session() is not None

        return (
            Command("s", "Server", "start a server", lambda: self._ask("server")),
            Command("c", "Client", "start a client", lambda: self._ask("client")),
            Command("x", "Stop", "end the session", self._stop, running),
            Command("r", "Restart", "start it again, as it was", self._restart, any_session),
            Command(
                "l",
                "Reload",
                "use a renewed certificate; connections stay open",
                self._reload,
                running,
            ),
            Command(
                "enter",
                "Events" if any_session() else "Details",
                "what happened in it; of another program: all that is known",
                self._open,
                lambda: self._table.item is not None,
                kiosk=True,
            ),
        )

    def copies(self) -> Sequence[Copy]:
        return copies(self._table.item)

    def focus_target(self) -> Widget:
        return self._table

    def opened(self) -> None:
        """Called when the page is shown."""
        self._polls = 0
        self.refresh_data()

    def refresh_data(self) -> None:
        if not self._reading:
            self._reading = True
            self.job("", self._read, self._listed, self._not_listed)
        # A job of its own: it may take a second or two, and the sessions must not wait for it.
        # Visitors must not see what else runs on the board.
        if self._polls % USERS_EVERY == 0 and not self._looking and not self.board.settings.kiosk:
            self._looking = True
            self.job("", lambda: tpm_users(self.board), self._looked, self._not_looked)
        self._polls += 1

    def _poll(self) -> None:
        """Refresh once a second, only while visible."""
        if self.console.in_front(self) and self.console.uncovered():
            self.refresh_data()

    def _read(self) -> list[SessionStatus]:
        sessions = self.board.sessions.list(usage=True)
        # First the running sessions, the oldest first; then the ended ones, the newest first.
        running = [one for one in sessions if not one.state.ended]
        ended = [one for one in reversed(sessions) if one.state.ended]
        return [*running, *ended]

    @property
    def _table(self) -> ListTable[Listed]:
        return self.query_one(ListTable)

    def _session(self) -> SessionStatus | None:
        """The session under the cursor."""
        item = self._table.item
        return item if isinstance(item, SessionStatus) else None

    def _user(self) -> TpmUser | None:
        """The other program under the cursor."""
        item = self._table.item
        return item if isinstance(item, TpmUser) else None

    # What is shown

    def _not_listed(self, error: Any) -> None:
        self._reading = False
        self.console.say(str(error), bad=True)

    def _listed(self, found: list[SessionStatus]) -> None:
        self._reading = False
        shown = {one.id: one for one in self._sessions}
        self._present([steady(shown.get(one.id), one) for one in found], self._users)

    def _not_looked(self, error: Any) -> None:
        self._looking = False
        self.console.say(str(error), bad=True)

    def _looked(self, found: list[TpmUser]) -> None:
        self._looking = False
        self._present(self._sessions, found)

    def _present(self, sessions: list[SessionStatus], users: list[TpmUser]) -> None:
        """Show these rows."""
        self._sessions, self._users = sessions, users
        go_to = None
        if any(one.id == self._started for one in sessions):
            go_to, self._started = self._started, ""
        self._table.replace([*sessions, *users], go_to)
        self.show_position()
        self._show_facts()

    def on_table_moved(self) -> None:
        # Only when the cursor rests: so a move over many rows costs no more than one.
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(REST_S, self._show_facts)

    def _show_facts(self) -> None:
        session, user = self._session(), self._user()
        facts = [] if self._table.narrowed else [Fact("", "", self.unless_kiosk(NOTHING))]
        if session is not None:
            levels = BLOCK_LEVELS if self.app.has_class("unicode") else ASCII_LEVELS
            facts = session_facts(session, levels, crl_state(self.board, session))
        elif user is not None:
            facts = user_facts(user)
        self.query_one(DetailPane).present(facts)
        self.console.show_keys()

    # What the keys do

    def start_with(self, identity: str, roles: Sequence[str]) -> None:
        """Ask for a session of an identity.

        Args:
            roles: those that its certificate allows; of several, one is asked for first.
        """
        if len(roles) == 1:
            self._ask(roles[0], {"identity": identity})
            return
        options = [
            Option("s", "Server", "waits for connections"),
            Option("c", "Client", "connects to a server"),
        ]
        self.app.push_screen(
            MenuDialog(f"Start {identity} as", options),
            lambda key: (
                self._ask("server" if key == "s" else "client", {"identity": identity})
                if key
                else None
            ),
        )

    def _ask(self, role: str, before: Mapping[str, str] = FRESH) -> None:
        self.job("", self.board.summaries, lambda all_: self._ask_with(role, all_, before))

    def _ask_with(self, role: str, summaries: Sequence[Summary], before: Mapping[str, str]) -> None:
        usable = [one for one in summaries if one.state in ("READY", "EXPIRES", "NO CLOCK")]
        # First the identities whose certificate is for this role.
        usable.sort(key=lambda one: role not in one.serves)
        ready = [one.name for one in usable]
        if not ready:
            self.console.say("no identity is ready: make one on page 3", bad=True)
            return

        def begin(values: Mapping[str, str] | None) -> None:
            if values:
                spec = session_spec(role, values)

                def start(known: Auth) -> SessionStatus:
                    wanted = replace(spec, last_try=known.spend_last_attempt)
                    return start_session(self.board, wanted, known)

                action = Action(
                    f"starting the {role}",
                    spec.identity,
                    start,
                    self._begun,
                    lambda: self.board.source(self.board.identities.get(spec.identity)),
                    again=partial(self._ask, role, values),
                )
                do(self, action, "key" if _locked(summaries, spec) else None)

        self.app.push_screen(start_form(role, ready, before), begin)

    def _restart(self) -> None:
        if (one := self._session()) is not None:
            plan_and_confirm(self, lambda: plan_restart(self.board, one.id), self._begun)

    def _begun(self, facts: SessionStatus) -> None:
        self._started = facts.id  # move the cursor to it
        self._changed(f"{facts.id} started, engine {facts.engine}")

    def _stop(self) -> None:
        if (one := self._session()) is not None:
            plan_and_confirm(
                self,
                lambda: plan_stop(self.board, one.id),
                lambda facts: self._changed(f"{facts.id} {facts.state}"),
            )

    def _reload(self) -> None:
        if (one := self._session()) is not None:
            self.job(
                f"reloading {one.id}",
                lambda: reload(self.board, one.id),
                lambda facts: self._changed(f"{facts.id} has read its certificate again"),
            )

    def _changed(self, message: str) -> None:
        self.console.say(message)
        self.refresh_data()

    def _open(self) -> None:
        """The events of a session; all that is known of another program."""
        session, user = self._session(), self._user()
        if session is not None:
            self.job("", lambda: self._read_events(session.id), self._show_events)
        elif user is not None:
            facts = user_facts(user, age=True)
            self.app.push_screen(TextDialog("Another user of the TPM", "", facts, state_width=0))

    def _read_events(self, session: str) -> tuple[str, EventReader, list[dict[str, Any]]]:
        reader = self.board.sessions.reader(session)
        return session, reader, list(reader.read())

    def _show_events(self, answer: tuple[str, EventReader, list[dict[str, Any]]]) -> None:
        self.app.push_screen(EventsDialog(*answer))


def _locked(summaries: Sequence[Summary], spec: SessionSpec) -> bool:
    return any(one.name == spec.identity and one.auth == "password" for one in summaries)
