"""Forgetting an identity, after a yes to what is lost with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tpmconsole.board.forgetting import forget, losses
from tpmconsole.text import printable
from tpmconsole.ui.dialogs.message import ConfirmDialog
from tpmconsole.ui.pages.page import Page

MOST_NAMED = 8  # lines: a dialog has to fit a screen of 24


def ask_forget(page: Page, name: str, done: Callable[[str], None]) -> None:
    """Name what is lost with an identity, and after a yes remove it.

    Args:
        done: gets what has happened, in words.
    """

    def ask(lost: Any) -> None:
        lines = [f"- {printable(one)}" for one in lost[:MOST_NAMED]]
        if len(lost) > MOST_NAMED:
            lines.append(f"- and {len(lost) - MOST_NAMED} more")
        page.app.push_screen(
            ConfirmDialog(f"Forget {name}", "\n".join(lines), "Remove this identity?"),
            lambda yes: go() if yes else None,
        )

    def go() -> None:
        page.job(
            "removing the identity",
            lambda: forget(page.board, name),
            lambda _: done(f"{name}: forgotten"),
        )

    page.job("", lambda: losses(page.board, name), ask)
