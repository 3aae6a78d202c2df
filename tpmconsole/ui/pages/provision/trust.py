"""Show, add and remove the trust anchors of an identity, by name and fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tpmconsole.board.trust import add_anchors, plan_remove_anchor, trust_anchors
from tpmconsole.ui.confirm import plan_and_confirm
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.pages.provision.certificate import ask_certificate, ask_trust
from tpmconsole.ui.pages.provision.trust_sheet import TrustAction, TrustSheet

if TYPE_CHECKING:
    from tpmconsole.x509.judge import CertificateInfo


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
        def go(action: TrustAction | None) -> None:
            if action is None:
                return
            if action.anchor is None:
                self._add()
            else:
                self._ask_removal(action.anchor)

        self._page.app.push_screen(TrustSheet(self._name, anchors), go)

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

    def _ask_removal(self, anchor: CertificateInfo) -> None:
        board, name = self._page.board, self._name
        plan_and_confirm(
            self._page,
            lambda: plan_remove_anchor(board, name, anchor.fingerprint),
            lambda _: self._changed(f"{name}: no longer trusts {anchor.subject}"),
        )
