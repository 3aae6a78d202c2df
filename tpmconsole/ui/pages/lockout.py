"""Resetting the lock-out, with its danger told first."""

from __future__ import annotations

from typing import Any

from tpmconsole.board.phrases import lockout_details, reset_danger
from tpmconsole.board.status import reset_lockout
from tpmconsole.ui.ask_auth import Action, do
from tpmconsole.ui.dialogs.message import ConfirmDialog
from tpmconsole.ui.pages.page import Page


def ask_reset(page: Page) -> None:
    """Tell what a reset does and, after a yes, do it; the lockout password is asked for if set."""
    health = page.console.health
    if health is None or health.lockout is None:
        return
    first, second = reset_danger(health.lockout)
    hierarchy = health.hierarchies.get("lockout")
    needs = "lockout" if hierarchy is not None and hierarchy.auth_set else None
    danger = [f"Now {lockout_details(health.lockout)}.", "", first]
    if needs:
        danger += ["", second]

    def done(_: Any) -> None:
        page.console.main.say("the lock-out is reset: all tries are there again")
        page.console.refresh_health()

    action = Action(
        "resetting the lock-out",
        "the TPM",
        lambda passwords: reset_lockout(page.board, passwords.lockout),
        done,
    )
    page.app.push_screen(
        ConfirmDialog("Reset the lock-out", "\n".join(danger), "Forget all wrong passwords?"),
        lambda yes: do(page, action, needs) if yes else None,
    )
