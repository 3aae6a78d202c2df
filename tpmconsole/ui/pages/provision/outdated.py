"""Show which sessions still use an identity's old files after a change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpmconsole.board.sessions import outdated
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.pages.page import Page

if TYPE_CHECKING:
    from tpmconsole.board.sessions import Outdated


def tell_outdated(page: Page, name: str) -> None:
    """Name the identity's sessions that have not read its files again, if there are any."""

    def show(found: tuple[Outdated, ...]) -> None:
        if found:
            lines = [f"{one.session} still uses the old files: {say(one.step)}" for one in found]
            page.console.show_text(f"Sessions of {name}", "\n".join(lines))

    page.job("", lambda: outdated(page.board, name), show)
