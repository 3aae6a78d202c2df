"""Page 1: health at a glance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widget import Widget

from tpmconsole import clock
from tpmconsole.board.phrases import (
    SELF_TEST,
    chip_words,
    encryption_words,
    lockout_details,
    lockout_state,
    persistent_words,
    self_test_details,
    self_test_words,
)
from tpmconsole.board.sessions import crl_state
from tpmconsole.board.status import plan_reset_lockout, why_it_failed
from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.tpm.model import SelfTest, SelfTestResult, TpmHealth
from tpmconsole.ui.command import Command
from tpmconsole.ui.confirm import plan_and_confirm
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.pages.overview_lists import identity_facts, rooms, session_facts
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.rows import Fact, Heading, lay_out
from tpmconsole.ui.widgets.details import Details

if TYPE_CHECKING:
    from tpmconsole.identity.summary import Summary
    from tpmconsole.session.status import SessionStatus

POLL_S = 5.0


class OverviewPage(Page):
    """Chip, self-test, lock-out, room, identities, sessions."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        # Not read yet: "none" might be wrong.
        self._identities: list[Summary] | ConsoleError | None = None
        self._sessions: list[SessionStatus] | ConsoleError | None = None

    def on_mount(self) -> None:
        self._present()
        self.set_interval(POLL_S, self._poll)

    def _poll(self) -> None:
        """Refresh every few seconds, only while visible; without changes this sends no bytes."""
        busy = self.console.jobs.running
        if self.console.in_front(self) and self.console.uncovered() and not busy:
            self.console.refresh_health(silent=True)
            self.job("", self._read_lists, self._lists_read)

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Details()

    def commands(self) -> tuple[Command, ...]:
        return (
            Command(
                "t",
                "Self-test",
                "let the TPM test everything again",
                lambda: self._self_test(full=True),
                self._can_test,
                kiosk=True,
            ),
            Command(
                "i",
                "",
                "let the TPM test only what is not tested yet (incremental)",
                lambda: self._self_test(full=False),
                self._can_test,
                kiosk=True,
            ),
            Command(
                "l",
                "Lock-out",
                "reset the TPM's lock-out: it forgets all wrong passwords",
                self._reset_lockout,
                self._can_reset,
            ),
            Command(
                "s",
                "Simulate",
                "use the simulated TPM",
                self._simulate,
                lambda: self.console.no_tpm is not None,
            ),
            Command(
                "r",
                "Refresh",
                "ask the TPM and read the identities again",
                self.refresh_data,
                kiosk=True,
            ),
        )

    def copies(self) -> Sequence[Copy]:
        gone = self.console.no_tpm
        return () if gone is None else (Copy("error", f"{gone.title}: {gone.cause}"),)

    def focus_target(self) -> Widget:
        return self.query_one(VerticalScroll)

    def refresh_data(self) -> None:
        self.console.refresh_health()
        self.job("", self._read_lists, self._lists_read)

    def health_changed(self) -> None:
        self._present()

    # What the keys do

    def _can_test(self) -> bool:
        return self.console.health is not None and self.console.jobs.visible is None

    def _can_reset(self) -> bool:
        health = self.console.health
        lockout = health.lockout if health else None
        return lockout is not None and (lockout.locked or lockout.failed_tries > 0)

    def _reset_lockout(self) -> None:
        def done(_: None) -> None:
            self.console.say("the lock-out is reset: all attempts are available")
            self.console.refresh_health()

        plan_and_confirm(self, lambda: plan_reset_lockout(self.board), done)

    def _self_test(self, *, full: bool) -> None:
        kind = "full" if full else "incremental"
        self.job(
            f"running the {kind} self-test", lambda: self.board.self_test(full=full), self._tested
        )

    def _tested(self, tested: tuple[SelfTest, TpmHealth]) -> None:
        result, health = tested
        passed = result.result is SelfTestResult.PASSED
        self.console.say(f"self-test {self_test_words(result)}", bad=not passed)
        self.console.take_health(health)

    def _simulate(self) -> None:
        self.board.use_simulator()
        self.console.refresh_health()

    # The lists

    def _read_lists(
        self,
    ) -> tuple[list[Summary] | ConsoleError, list[SessionStatus] | ConsoleError]:
        return unless_refused(self.board.summaries), unless_refused(self.board.sessions.list)

    def _lists_read(self, lists: Any) -> None:
        self._identities, self._sessions = lists
        self._present()

    def _present(self) -> None:
        health, gone = self.console.health, self.console.no_tpm
        items: list[Fact | Heading] = [Fact("TPM", "", "asking ...")]
        if health:
            items = [*health_facts(health)]
        elif gone:
            remedy = self.unless_kiosk(_remedy(gone), "tell the person who looks after this board")
            items = [*no_tpm_facts(gone, remedy)]
        identities, sessions = self._identities, self._sessions
        items += clock_facts(identities if isinstance(identities, list) else [])
        if identities is not None and sessions is not None:
            items += self._lists(identities, sessions, self._room(items))
        self.query_one(Details).present(items)

    def on_resize(self) -> None:
        """More or fewer identities have room."""
        self._present()

    def _room(self, above: Sequence[Fact | Heading]) -> int:
        """The lines for both lists below these rows, without scrolling."""
        size = self.query_one(VerticalScroll).size
        if not size.height:
            return 0
        return size.height - _lines(above, size.width)

    def _lists(
        self,
        identities: list[Summary] | ConsoleError,
        sessions: list[SessionStatus] | ConsoleError,
        room: int,
    ) -> list[Fact | Heading]:
        first = self.unless_kiosk("make the first one on page 3, Provision")
        start = self.unless_kiosk("start one on page 4, Sessions")
        state = partial(crl_state, self.board)
        warn_days = self.board.settings.warn_days
        name_identities = partial(identity_facts, none=first, warn_days=warn_days)
        name_sessions = partial(session_facts, none=start, crl_of=state)
        whole = (
            _unless_refused("Identities", identities, name_identities),
            _unless_refused("Sessions", sessions, name_sessions),
        )
        if not room:
            return [*whole[0], *whole[1]]
        width = self.query_one(VerticalScroll).size.width
        for_identities, for_sessions = rooms(room, *(_lines(facts[1:], width) for facts in whole))
        name_identities = partial(name_identities, room=for_identities)
        name_sessions = partial(name_sessions, room=for_sessions)
        return [
            *_unless_refused("Identities", identities, name_identities),
            *_unless_refused("Sessions", sessions, name_sessions),
        ]


Listed = TypeVar("Listed")


def _lines(facts: Sequence[Fact | Heading], width: int) -> int:
    """How many lines these rows take on the screen."""
    return len(lay_out(facts, width).split("\n", allow_blank=True))


def unless_refused(read: Callable[[], list[Listed]]) -> list[Listed] | ConsoleError:
    """A list, or why it cannot be read: an error in one list does not hide the other."""
    try:
        return read()
    except ConsoleError as error:
        return error


def _unless_refused(
    title: str,
    found: list[Listed] | ConsoleError,
    facts: Callable[[list[Listed]], list[Fact | Heading]],
) -> list[Fact | Heading]:
    if isinstance(found, ConsoleError):
        return [Heading(title), Fact("", "ERROR", f"{found.cause}; {say(found.remedy)}")]
    return facts(found)


def clock_facts(identities: Sequence[Summary]) -> list[Fact]:
    """The board's clock, only if it is not plausible."""
    now = clock.now()
    if not clock.fault(now) and all(one.state != "NO CLOCK" for one in identities):
        return []
    text = f"{clock.moment(now)}, not plausible: no certificate can be checked; {clock.SET_IT}"
    return [Fact("Clock", "NO CLOCK", text)]


def health_facts(health: TpmHealth) -> list[Fact]:
    """The TPM's health as rows with label, state and details."""
    failed = health.mode == "failure"
    mark = "SIMULATED" if health.simulated else ""
    version = f", TPM {health.family} rev {health.revision}" if health.family else ""
    facts = [
        Fact("TPM", "FAILED" if failed else "OK", f"{chip_words(health)}{version}"),
        Fact("Firmware", "", health.firmware),
        Fact(
            "Self-test",
            SELF_TEST[health.self_test.result],
            self_test_details(health.self_test),
        ),
    ]
    if failed:
        error = why_it_failed()
        facts += [Fact("Why", "", error.cause), Fact("Try", "", say(error.remedy))]
    if health.lockout:
        details = lockout_details(health.lockout)
        if health.lockout.locked and health.lockout.max_tries:
            details += "; protected keys are refused until then, or until it is reset (l)"
        facts.append(Fact("Lock-out", lockout_state(health.lockout), details))
    if health.persistent and health.transient:
        room = health.persistent.available
        details = (
            f"{persistent_words(health.persistent)}; "
            f"{health.transient.available} transient slots free"
        )
        facts.append(Fact("Room", "OK" if room else "FULL", details))
    if health.hierarchies:  # not reported in failure mode
        names = [name for name, one in health.hierarchies.items() if one.auth_set]
        facts.append(Fact("Passwords", "", f"set for: {', '.join(names)}" if names else "none set"))
    if health.encrypted_sessions is False:
        facts.append(Fact("Encryption", "NONE", encryption_words(health.encrypted_sessions)))
    return [*facts, Fact("Connection", mark, f"{health.tcti} ({health.tcti_why})")]


def no_tpm_facts(error: ConsoleError, remedy: str) -> list[Fact]:
    """The TPMs that were tried, why each failed, and what to do."""
    first, *more = error.cause.split("; ")
    return [
        Fact("TPM", "NO TPM", first),
        *(Fact("", "", cause) for cause in more),
        Fact("Try", "", remedy),
    ]


def _remedy(error: ConsoleError) -> str:
    words, step = say(error.remedy), error.remedy
    if isinstance(step, NextStep) and step.action is Action.USE_SIMULATOR:
        return words
    return f"{words}, or {say(NextStep(Action.USE_SIMULATOR))}"
