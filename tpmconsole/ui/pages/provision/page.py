"""Page 3: the steps from a key in the TPM to an installed certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.widget import Widget

from tpmconsole.board.certificates import demo_sign, plan_undo
from tpmconsole.board.dependents import plan_forget
from tpmconsole.identity.summary import Summary
from tpmconsole.ui.ask_auth import Action, do
from tpmconsole.ui.command import Command
from tpmconsole.ui.confirm import plan_and_confirm
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.pages.keys.forms import ask_create
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.pages.provision.certificate import Importing
from tpmconsole.ui.pages.provision.columns import COLUMNS, copies, row
from tpmconsole.ui.pages.provision.hand_over import Handing
from tpmconsole.ui.pages.provision.outdated import tell_outdated
from tpmconsole.ui.pages.provision.request import Renewing, Requesting
from tpmconsole.ui.pages.provision.steps import step_facts, verdict_facts
from tpmconsole.ui.pages.provision.trust import Trusting
from tpmconsole.ui.rows import Fact
from tpmconsole.ui.widgets.details import DetailPane
from tpmconsole.ui.widgets.list_table import ListTable

if TYPE_CHECKING:
    from tpmconsole.identity.identity import Identity
    from tpmconsole.x509.judge import Judgement

POLL_S = 5.0


class ProvisionPage(Page):
    """Identities above, the steps of the chosen one below."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._drafts: dict[str, Mapping[str, str]] = {}
        self._going_to = ""
        self._asked = False

    def compose(self) -> ComposeResult:
        yield ListTable[Summary](COLUMNS, 2, row, lambda one: one.name)
        yield DetailPane()

    def commands(self) -> tuple[Command, ...]:
        one = self._chosen()
        works = one is not None and not one.key_lost
        asked = one is not None and works and one.request_subject is not None
        certified = one is not None and works and one.subject is not None
        answered = one is not None and one.subject is not None and not one.renewing
        return (
            Command("n", "New key", "make a key in the TPM, as a new identity", self._create),
            Command("r", "Request", "make the certificate request", self._request, lambda: works),
            Command(
                "i",
                "Import",
                "check a certificate, and install it if every check passes",
                self._import,
                lambda: works,
            ),
            Command("enter", "Next", "do the next step of this identity", self._next),
            Command(
                "t",
                "Trust",
                "see, add and remove the CAs whose peers it trusts",
                self._trust,
                lambda: works,
            ),
            # These depend on the row: last, so that the others keep their place. Not all of them
            # fit on the line; the steps and the help name them.
            Command(
                "h",
                "" if answered else "To CA",
                "hand the request over: file, screen, clipboard or QR code",
                self._hand_over,
                lambda: asked,
                kiosk=True,
            ),
            Command("w", "Renew", "ask for the same again", self._renew, lambda: certified),
            Command(
                "u",
                "Undo",
                "go back to the certificate before the last import, once",
                self._undo,
                lambda: one is not None and one.can_undo,
            ),
            Command(
                "d",
                "",
                "let the simulator's CA sign the request",
                self._demo,
                lambda: asked and self._simulated,
            ),
            Command(
                "x",
                "" if works else "Forget",
                "forget this identity: remove its key file, certificate and trust",
                self._forget,
                lambda: one is not None,
            ),
        )

    def copies(self) -> Sequence[Copy]:
        one = self._chosen()
        return () if one is None else copies(self.board, one)

    def focus_target(self) -> Widget:
        return self._table

    def on_mount(self) -> None:
        self.set_interval(POLL_S, self._poll)

    def _poll(self) -> None:
        """Show what other commands change, while visible; without changes this sends no bytes."""
        busy = self.console.jobs.running
        if self.console.in_front(self) and self.console.uncovered() and not busy:
            self.job("", self.board.summaries, self._listed)

    def refresh_data(self) -> None:
        self.job("", self.board.summaries, self._listed)
        self._asked = False
        self._ask_for_keys()

    def _ask_for_keys(self) -> None:
        """Ask the TPM once for each list whether the keys at handles are still the same."""
        if self._asked or self.console.health is None:
            return
        self._asked = True
        self.job("", self.board.watch_keys, self._watched, lambda _: None)

    def _watched(self, news: bool) -> None:
        if news:
            self.job("", self.board.summaries, self._listed)

    @property
    def _table(self) -> ListTable[Summary]:
        return self.query_one(ListTable)

    @property
    def _simulated(self) -> bool:
        health = self.console.health
        return health is not None and health.simulated

    def _chosen(self) -> Summary | None:
        return self._table.item

    # What is shown

    def _listed(self, summaries: Any) -> None:
        go_to = None
        if any(one.name == self._going_to for one in summaries):
            go_to, self._going_to = self._going_to, ""
        self._table.replace(summaries, go_to)
        self.show_position()
        self._show_steps()

    def on_table_moved(self) -> None:
        self._show_steps()

    def _show_steps(self) -> None:
        one = self._chosen()
        facts = [Fact("1 Key", "NEXT", self.unless_kiosk("n: make a key in the TPM"))]
        if one is not None:
            kiosk = self.board.settings.kiosk
            facts = step_facts(one, simulated=self._simulated, kiosk=kiosk)
            if not self._table.fits(one.detail, column=3):
                facts = [Fact("Certificate", "", one.detail), *facts]
            if self._table.cut:
                facts = [Fact("Identity", "", one.name), *facts]
        self.query_one(DetailPane).present(facts)
        self.console.show_keys()

    def health_changed(self) -> None:
        if self.is_mounted:
            self._show_steps()
            self._ask_for_keys()

    def _changed(self, message: str, *, bad: bool = False) -> None:
        self.console.say(message, bad=bad)
        self.refresh_data()

    def _replaced(self, name: str, message: str) -> None:
        """Update after a certificate or trust anchors have changed."""
        self._changed(message)
        tell_outdated(self, name)

    # The steps

    def _next(self) -> None:
        one = self._chosen()
        if one is None:
            self._create()
        elif one.key_lost:
            self._forget()
        elif one.request_subject is None and one.subject is None:
            self._request()
        elif one.renewing or one.subject is None:
            if one.handed is None:
                self._hand_over()
            else:
                self._import()
        elif one.state in ("EXPIRES", "EXPIRED"):
            self._renew()
        elif not one.has_trust:
            self._trust()
        else:
            self.console.start_session(one.name, one.serves)

    def _create(self) -> None:
        def made(identity: Identity) -> None:
            self._going_to = identity.name  # the next step is its request
            self._changed(f"{identity.name}: key made in the TPM")

        ask_create(self, made)

    def _request(self) -> None:
        if (one := self._chosen()) is not None:
            Requesting(self, one, self._drafts, lambda: self._requested(one.name)).start()

    def _renew(self) -> None:
        if (one := self._chosen()) is not None:
            Renewing(self, one, self._drafts, self._requested).start()

    def _requested(self, name: str) -> None:
        self._going_to = name  # a new identity if it was renewed with a new key
        self._changed(f"{name}: request made; hand it to your CA")
        self._hand_over_of(name)

    def _hand_over(self) -> None:
        if (one := self._chosen()) is not None:
            self._hand_over_of(one.name)

    def _hand_over_of(self, name: str) -> None:
        visitor = self.board.settings.kiosk
        demo = (lambda: self._demo_of(name)) if self._simulated and not visitor else None
        Handing(self, name, demo).start()

    def _import(self) -> None:
        if (one := self._chosen()) is not None:
            Importing(self, one, self._changed).start()

    def _trust(self) -> None:
        if (one := self._chosen()) is not None:
            Trusting(self, one.name, partial(self._replaced, one.name)).start()

    def _forget(self) -> None:
        if (one := self._chosen()) is not None:
            name = one.name
            plan_and_confirm(
                self,
                lambda: plan_forget(self.board, name),
                lambda _: self._changed(f"{name}: forgotten"),
            )

    # Undo the last import

    def _undo(self) -> None:
        if (one := self._chosen()) is None:
            return
        name = one.name
        plan_and_confirm(
            self,
            lambda: plan_undo(self.board, name),
            lambda facts: self._replaced(name, f"{name}: back to {facts.subject}"),
            lambda: self._changed(f"{name}: no earlier certificate was kept", bad=True),
        )

    # The simulator's CA

    def _demo(self) -> None:
        if (one := self._chosen()) is not None:
            self._demo_of(one.name)

    def _demo_of(self, name: str) -> None:
        action = Action(
            "the demo CA signs",
            name,
            lambda known: demo_sign(self.board, name, known),
            lambda judgement: self._judged(name, judgement),
            lambda: self.board.source(self.board.identities.get(name)),
        )
        do(self, action)

    def _judged(self, name: str, judgement: Judgement) -> None:
        facts = verdict_facts(judgement, [], "installed")
        self.console.show_text(f"Certificate of {name}", "", facts)
        self._replaced(name, f"{name}: certificate installed")
