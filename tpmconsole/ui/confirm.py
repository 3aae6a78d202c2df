"""Ask for confirmation of a plan, with what would be lost, and carry it out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from tpmconsole.board.plan import Plan
from tpmconsole.text import printable
from tpmconsole.ui.ask_auth import NOTHING_KNOWN, Action, do
from tpmconsole.ui.dialogs.message import ConfirmDialog
from tpmconsole.ui.pages.page import Page

Result = TypeVar("Result")

MOST_NAMED = 8  # lines: a dialog must fit on a screen with 24


def plan_and_confirm(
    page: Page,
    make: Callable[[], Plan[Result] | None],
    done: Callable[[Result], None],
    nothing: Callable[[], None] = lambda: None,
) -> None:
    """Make a plan in a thread, then ask for confirmation and carry it out.

    Args:
        make: returns the plan; None if there is nothing to do.
        done: called in the event loop with the plan's result.
        nothing: called if there is nothing to do.
    """

    def ask(plan: Plan[Any] | None) -> None:
        if plan is None:
            nothing()
        else:
            confirm(page, plan, done)

    page.job("", make, ask)


def confirm(page: Page, plan: Plan[Result], done: Callable[[Result], None]) -> None:
    """Ask for confirmation of a plan and carry it out; without losses, do not ask."""
    if not plan.losses:
        apply(page, plan, done)
        return
    lines = [f"- {printable(line)}" for line in plan.losses[:MOST_NAMED]]
    if len(plan.losses) > MOST_NAMED:
        lines.append(f"- and {len(plan.losses) - MOST_NAMED} more")
    if len(lines) == 1:
        lines = [printable(plan.losses[0])]
    page.app.push_screen(
        ConfirmDialog(plan.title, "\n".join(lines), plan.question),
        lambda yes: apply(page, plan, done) if yes else None,
    )


def apply(page: Page, plan: Plan[Result], done: Callable[[Result], None]) -> None:
    """Carry out a plan, asking for every password that it needs."""
    action = Action(plan.doing, plan.subject, plan.apply, partial(_done, done), plan.key)
    do(page, action, plan.needs, NOTHING_KNOWN)


def _done(done: Callable[[Any], None], result: Any) -> None:
    done(result)
