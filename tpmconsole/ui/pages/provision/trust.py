"""Show, add and remove the trust anchors of an identity, by name and fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tpmconsole.board.trust import add_anchors, plan_remove_anchor, trust_anchors
from tpmconsole.ui.confirm import plan_and_confirm
from tpmconsole.ui.dialogs.menu import MenuDialog, Option
from tpmconsole.ui.dialogs.message import ReviewDialog
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.pages.provision.certificate import ask_certificate, ask_trust
from tpmconsole.ui.pages.provision.steps import anchor_facts
from tpmconsole.ui.rows import Fact

if TYPE_CHECKING:
    from tpmconsole.x509.judge import CertificateInfo

_KEYS = "123456789"


class Trusting:
    """Shows the anchors of an identity, and changes them after a confirmation.

    Args:
        page: the page that shows the dialogs.
        name: the identity.
        changed: called with a message to show after a change.
    """

    def __init__(self, page: Page, name: str, changed: Callable[[str], None]) -> None:
        self._page = page
        self._name = name
        self._changed = changed

    def start(self) -> None:
        """Read the anchors and show them."""
        board = self._page.board
        self._page.job("", lambda: trust_anchors(board, self._name), self._show, self._damaged)

    def _damaged(self, error: Exception) -> None:
        self._page.console.say(str(error), bad=True)
        self._add()  # adding an anchor replaces the damaged ones

    def _show(self, anchors: list[CertificateInfo]) -> None:
        none = [Fact("Trust", "NONE", "no peer is trusted: press a to add the CA of the peers")]
        facts = [fact for one in anchors for fact in anchor_facts(one)] or none
        answers = [("a", "Add"), ("x", "Remove")] if anchors else [("a", "Add")]

        def go(key: str | None) -> None:
            if key == "a":
                self._add()
            elif key == "x":
                self._choose(anchors)

        self._page.app.push_screen(ReviewDialog(f"{self._name} trusts", facts, answers), go)

    def _add(self) -> None:
        board = self._page.board

        def add(pem: bytes) -> None:
            self._page.job(
                "adding the CA",
                lambda: add_anchors(board, self._name, pem),
                lambda _: self._changed(f"{self._name}: the CA is trusted from now on"),
            )

        ask_certificate(
            self._page,
            "The CA to trust",
            lambda data: ask_trust(self._page, self._name, data, add),
        )

    def _choose(self, anchors: list[CertificateInfo]) -> None:
        if len(anchors) == 1:
            self._ask_removal(anchors[0])
            return
        options = [
            Option(key, one.fingerprint[:16], one.subject)
            for key, one in zip(_KEYS, anchors, strict=False)
        ]
        self._page.app.push_screen(
            MenuDialog("Stop trusting which CA?", options),
            lambda key: self._ask_removal(anchors[_KEYS.index(key)]) if key else None,
        )

    def _ask_removal(self, anchor: CertificateInfo) -> None:
        board, name = self._page.board, self._name
        plan_and_confirm(
            self._page,
            lambda: plan_remove_anchor(board, name, anchor.fingerprint),
            lambda _: self._changed(f"{name}: no longer trusts {anchor.subject}"),
        )
