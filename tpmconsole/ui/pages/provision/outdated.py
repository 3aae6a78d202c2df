"""After a change of an identity's files: which sessions go on with what was there before."""

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
            lines = [
                f"{one.session} still uses what was there before: {say(one.step)}" for one in found
            ]
            page.console.show_text(f"Sessions of {name}", "\n".join(lines))

    page.job("", lambda: outdated(page.board, name), show)
